// Draws a heat map on a canvas, as large as the screen has pixels: a pixel has the hottest of the cells below it.
const BAR = 10;  // px at the left, for the region's colour
const STEPS = 255;
const short = new Intl.NumberFormat('en', {notation: 'compact', maximumSignificantDigits: 2});
const seconds = new Intl.NumberFormat('en', {maximumSignificantDigits: 4});

const heatMap = async figure => {
  const facts = JSON.parse(figure.querySelector(':scope>script').textContent);
  const levels = new Uint8Array(await unpacked(facts.levels).arrayBuffer());
  const {rows, tops, bins, regions} = facts, height = tops.at(-1);
  const canvas = figure.querySelector('canvas'), context = canvas.getContext('2d');
  const cursor = figure.querySelector('.cursor'), told = figure.querySelector('.told');
  const [title, text, chart] = figure.querySelectorAll('.life>*');
  const at = {row: 0, bin: 0};
  const heat = level => facts.least * (facts.most / facts.least) ** ((level - 0.5) / STEPS);

  const paint = print => {
    const dark = !print && matchMedia('screen and (prefers-color-scheme:dark)').matches;
    const hex = facts.palette[dark ? 'dark' : 'light'], scale = devicePixelRatio;
    const colour = Array.from({length: STEPS}, (_, i) => parseInt(hex.slice(6 * i, 6 * i + 6), 16));
    const wide = canvas.width = Math.max(1, Math.round(canvas.clientWidth * scale));
    const high = canvas.height = Math.round(height * scale), left = Math.round(BAR * scale);
    const across = Math.max(1, wide - left), image = context.createImageData(across, high);
    for (let y = 0, row = 0; y < high; y++) {
      while (tops[row + 1] <= y / scale) row++;
      let end = row + 1;
      while (end < rows.length && tops[end] < (y + 1) / scale) end++;
      for (let x = 0; x < across; x++) {
        const first = Math.floor(x * bins / across), last = Math.max(first + 1, Math.floor((x + 1) * bins / across));
        let level = 0;
        for (let r = row; r < end; r++)
          for (let b = first; b < last; b++) level = Math.max(level, levels[r * bins + b]);
        if (level) {
          const rgb = colour[level - 1], i = 4 * (y * across + x);
          image.data[i] = rgb >> 16;
          image.data[i + 1] = rgb >> 8 & 255;
          image.data[i + 2] = rgb & 255;
          image.data[i + 3] = 255;
        }
      }
    }
    context.putImageData(image, left, 0);
    context.strokeStyle = '#888';
    for (const [begin, end] of facts.unseen) {
      const x = left + begin / bins * across, width = (end - begin) / bins * across;
      context.save();
      context.beginPath();
      context.rect(x, 0, width, high);
      context.clip();
      for (let line = x - high; line < x + width; line += 5 * scale) {
        context.beginPath();
        context.moveTo(line, high);
        context.lineTo(line + high, 0);
        context.stroke();
      }
      context.restore();
    }
    // Whole pixels: what is smaller would be pale.
    rows.forEach((row, number) => {
      const y = Math.round(tops[number] * scale), end = Math.round(tops[number + 1] * scale);
      const broken = rows[number + 1]?.apart ? Math.min(2 * scale, Math.ceil((end - y) / 2)) : 0;
      context.fillStyle = row.colour;
      context.fillRect(0, y, left - Math.round(4 * scale), end - y - broken);
    });
  };

  const tell = (row, bin) => {
    Object.assign(at, {row, bin});
    const across = canvas.clientWidth - BAR, level = levels[row * bins + bin];
    Object.assign(cursor.style, {
      left: `${BAR + bin / bins * across - 1}px`, width: `${across / bins}px`,
      top: `${tops[row] - 1}px`, height: `${tops[row + 1] - tops[row]}px`,
    });
    cursor.hidden = false;
    const unseen = facts.unseen.some(([begin, end]) => begin <= bin && bin < end);
    const value = unseen ? 'nobody looked' : level ? `about ${short.format(heat(level))} ${facts.unit}` : `no ${facts.measure}`;
    told.textContent = `${rows[row].name}, ${rows[row].where}, at ${seconds.format(bin * facts.bin_s)} s: ${value}`;
  };
  const place = event => {
    const box = canvas.getBoundingClientRect(), y = (event.clientY - box.top) / box.height * height;
    const share = (event.clientX - box.left - BAR) / (box.width - BAR);
    let row = rows.length - 1;
    while (row && tops[row] > y) row--;
    return [row, Math.min(bins - 1, Math.max(0, Math.floor(share * bins)))];
  };

  const show = (name, note, unit, traces, bin_s, log) => {
    title.textContent = name;
    text.textContent = note;
    const x = traces[0][1].map((_, bin) => bin * bin_s);
    const data = traces.map(([what, y, colour, dash]) => ({
      x, y, name: what, mode: 'lines', connectgaps: false, line: {color: colour, dash, width: 1.5, shape: 'hv'},
    }));
    return draw(chart, {data, layout: {
      height: 260, margin: {l: 60, r: 10, t: 10, b: 40}, showlegend: data.length > 1, legend: {orientation: 'h', y: 1.15},
      xaxis: {title: {text: 's'}, showgrid: false, zeroline: false, showline: true, ticks: 'outside'},
      yaxis: {title: {text: unit}, type: log ? 'log' : 'linear', rangemode: 'tozero', showgrid: false, zeroline: false,
              showline: true, ticks: 'outside', exponentformat: 'SI'},
    }});
  };
  const pageLife = () => {
    const row = rows[at.row], cells = levels.subarray(at.row * bins, (at.row + 1) * bins);
    show(`${row.name}, ${row.where}`, row.note, facts.unit,
         [[facts.measure, Array.from(cells, level => level ? heat(level) : null), row.colour, 'solid']], facts.bin_s, true);
  };
  const regionLife = number => {
    const region = regions[number];
    return show(region.name, region.note, 'per second',
         [['misses', 'solid'], ['touches', 'dash'], ['writes', 'dot']]
           .filter(([what]) => region[what].some(Boolean))
           .map(([what, dash]) => [what, region[what].map(count => count || null), region.colour, dash]),
         facts.activity_bin_s, true);
  };

  canvas.onpointermove = event => tell(...place(event));
  canvas.onclick = event => { tell(...place(event)); pageLife(); };
  canvas.onkeydown = event => {
    const [down, right] = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]}[event.key] ?? [0, 0];
    if (down || right) tell(Math.min(rows.length - 1, Math.max(0, at.row + down)), Math.min(bins - 1, Math.max(0, at.bin + right)));
    else if (event.key === 'Enter') pageLife();
    else return;
    event.preventDefault();
  };
  for (const button of document.querySelectorAll('[data-region]')) button.onclick = () => {
    regionLife(button.dataset.region);
    figure.querySelector('.life').scrollIntoView({block: 'nearest'});
  };
  new ResizeObserver(() => paint(false)).observe(canvas);
  matchMedia('(prefers-color-scheme:dark)').addEventListener('change', () => paint(false));
  addEventListener('beforeprint', () => paint(true));
  addEventListener('afterprint', () => paint(false));
  paint(false);
  await regionLife(0);
  figure.dataset.drawn = '';
};
for (const figure of document.querySelectorAll('.heat')) heatMap(figure);
