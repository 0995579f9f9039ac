// plotly.js is made ready as soon as it arrives, which is when an explorer is imported: the first picture need not wait for it. `page.js` comes before this file.

export default { initialize: ({ model }) => { loadPlotly(model); } };
