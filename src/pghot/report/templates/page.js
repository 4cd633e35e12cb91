// What is packed in the page is gzip in base64.
const unpacked = text => {
  const packed = Uint8Array.from(atob(text), c => c.charCodeAt(0));
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip')));
};
const plotlyLoaded = (async () => {
  const script = document.createElement('script');
  script.textContent = await unpacked(document.getElementById('plotly').textContent).text();
  document.head.append(script);
})();
const ink = () => getComputedStyle(document.documentElement).getPropertyValue('--ink');

// The colours of a chart are those of the page, also when the scheme changes and in print.
const inkLines = traces => {
  for (const trace of traces) {
    if (trace.meta === 'ink') trace.line = {...trace.line, color: ink()};
    if (trace.error_x) trace.error_x.color = ink();
  }
};
const inkRest = chart => {
  const clear = 'rgba(0,0,0,0)', layout = {'font.color': ink(), paper_bgcolor: clear, plot_bgcolor: clear};
  for (const axis of Object.keys(chart.layout).filter(key => /^[xy]axis\d*$/.test(key)))
    for (const part of ['linecolor', 'tickcolor', 'zerolinecolor']) layout[axis + '.' + part] = ink();
  return Plotly.relayout(chart, layout);
};
const charts = new Set();
const draw = async (chart, figure) => {
  await plotlyLoaded;
  if (!charts.has(chart)) chart.textContent = '';
  inkLines(figure.data);
  await Plotly.react(chart, figure.data, figure.layout, {displayModeBar: false, responsive: true});
  charts.add(chart);
  await inkRest(chart);
};
for (const media of ['(prefers-color-scheme:dark)', 'print'])
  matchMedia(media).addEventListener('change', () => charts.forEach(chart => {
    inkLines(chart.data);
    Plotly.redraw(chart);
    inkRest(chart);
  }));
(async () => {
  for (const figure of document.querySelectorAll('.chart+script'))
    await draw(figure.previousElementSibling, JSON.parse(figure.textContent));
  document.documentElement.dataset.drawn = 'charts';
})();
