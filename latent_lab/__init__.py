"Watch models think in latent space: train, record, look."
__version__ = "0.1.0"

from importlib import import_module

# What most notebooks start from, by the module it lives in; imported when first used, so that `import latent_lab` stays light
_where = dict(load='hub', shipped='hub', record='trace', open_trace='trace', check_model='models.contract', LatentTrainer='train.trainer',
              LatentArguments='train.trainer', Projector='explore.project', TrajectoryExplorer='explore.widgets')
__all__ = list(_where)


def __getattr__(name):
    if name not in _where: raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'{__name__}.{_where[name]}'), name)


def __dir__(): return sorted([*globals(), *_where])
