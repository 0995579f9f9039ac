"Installs latent_lab; every fact about it lives in `settings.ini`."
from configparser import ConfigParser
from pathlib import Path
import setuptools
from setuptools.command.build_py import build_py

here = Path(__file__).parent
config = ConfigParser(delimiters=['='])
config.read(here/'settings.ini', encoding='utf-8')
facts = config['DEFAULT']


class WithNotebooks(build_py):
    "Puts the notebooks into the wheel, where `latent-lab lab` finds them, with the figures they show and read"
    def run(self):
        super().run()
        if self.editable_mode: return
        home = here/facts['nbs_path']
        for file in [home/'index.ipynb', *home.glob('*/**/*')]:
            if file.suffix not in ('.ipynb', '.json', '.jpg', '.svg') or '.ipynb_checkpoints' in file.parts: continue
            place = Path(self.build_lib)/facts['lib_name']/'nbs'/file.relative_to(home)
            place.parent.mkdir(parents=True, exist_ok=True)
            self.copy_file(str(file), str(place))


setuptools.setup(
    cmdclass={'build_py': WithNotebooks},
    name=facts['lib_name'],
    version=facts['version'],
    description=facts['description'],
    long_description=(here/'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    keywords=facts['keywords'].split(),
    author=facts['author'],
    author_email=facts['author_email'],
    url=facts['git_url'],
    license='Apache-2.0',
    classifiers=['Development Status :: '+facts['status']+' - Alpha', 'Intended Audience :: Science/Research', 'Programming Language :: Python :: 3'],
    python_requires='>='+facts['min_python'],
    packages=setuptools.find_packages(include=['latent_lab', 'latent_lab.*']),
    include_package_data=True,
    install_requires=facts['requirements'].split(),
    extras_require={extra: facts[f'{extra}_requirements'].split() for extra in ('dev', 'lora', 'qlora', 'meteor', 'gym', 'scatter')},
    entry_points={
        'console_scripts': facts['console_scripts'].split(),
        'nbdev': [f"{facts['lib_name']}={facts['lib_path']}._modidx:d"],
    },
    zip_safe=False,
)
