// Draws a dashboard with Grafana's own components: its TimeSeries, BigValue, BarGauge,
// Table and PanelChrome. Only heat maps, which are no part of @grafana/ui, are drawn here.
// Bundled with esbuild and opened in headless Chromium by pictures.py, which puts
// {dashboard, from, to, answers} into window.STORY.
// By require: some of what Grafana's components stand on has a default that bundlers find
// in CommonJS's way only.
const {
  FieldType, applyFieldOverrides, createDataFrame, createTheme, dateTime,
  getDisplayProcessor, getDisplayValueAlignmentFactors, getFieldDisplayValues,
  identityOverrideProcessor,
  standardFieldConfigEditorRegistry,
} = require("@grafana/data");
const {
  BarGauge, BigValue, GlobalStyles, PanelChrome, Table, ThemeContext, TimeSeries, VizRepeater,
} = require("@grafana/ui");
const { interpolateCividis } = require("d3-scale-chromatic");
const { createRoot } = require("react-dom/client");
require("uplot/dist/uPlot.min.css");

const WIDTH = 1600;
const GAP = 8;
const ROW = 38;
const theme = createTheme({ colors: { mode: "dark" } });
const { dashboard, from, to, answers } = window.STORY;
const timeRange = { from: dateTime(from), to: dateTime(to) };
timeRange.raw = { from: timeRange.from, to: timeRange.to };

// Grafana registers an editor for each of these; a picture needs their values alone.
const OPTIONS = [
  "unit", "min", "max", "decimals", "displayName", "noValue", "thresholds", "mappings",
  "color", "links",
];
standardFieldConfigEditorRegistry.setInit(() => OPTIONS.map((id) => ({
  id, path: id, name: id, process: identityOverrideProcessor, shouldApply: () => true,
  editor: () => null, override: () => null, settings: {},
})));

const named = (legend, labels) => legend === "__auto"
  ? Object.entries(labels).map(([key, value]) => `${key}="${value}"`).join(", ") || "Value"
  : legend.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => labels[label] ?? "");

// One frame for each series, as Grafana's data source makes them.
function frames(panel) {
  const made = answers[panel.id].flatMap(({ refId, legend, series }) =>
    series.map(({ labels, times, values }) => createDataFrame({
      refId,
      fields: [
        { name: "Time", type: FieldType.time, values: times, config: {} },
        {
          name: named(legend, labels), type: FieldType.number, values, labels,
          config: { displayName: named(legend, labels) },
        },
      ],
    })));
  const applied = overridden(panel, made);
  for (const frame of applied) {
    frame.fields[1].config.custom = panel.fieldConfig.defaults.custom ?? {};
  }
  return applied;
}

const overridden = (panel, data) => applyFieldOverrides({
  data, theme, timeZone: "utc", fieldConfig: panel.fieldConfig,
  replaceVariables: (text) => text,
});

// A table: labels and the value are columns, in the order and by the names of the panel.
function columns(panel) {
  const [{ series }] = answers[panel.id];
  const { indexByName, renameByName } = panel.transformations[0].options;
  const names = Object.keys(indexByName);
  const fields = names.map((name) => {
    const isValue = name === "Value";
    return {
      name: renameByName[name],
      type: isValue ? FieldType.number : FieldType.string,
      config: {},
      values: series.map(({ labels, values }) => isValue ? values[0] : labels[name] ?? ""),
    };
  });
  const [frame] = overridden(panel, [createDataFrame({ fields })]);
  for (const field of frame.fields) {
    field.config.custom = panel.fieldConfig.defaults.custom;
  }
  return frame;
}

const displayed = (panel) => getFieldDisplayValues({
  data: frames(panel), theme, timeZone: "utc", sparkline: true,
  fieldConfig: panel.fieldConfig, reduceOptions: panel.options.reduceOptions,
  replaceVariables: (text) => text,
});

function Heat({ panel, width, height }) {
  const series = answers[panel.id][0].series
    .map((one) => ({ le: Number(one.labels.le.replace("+Inf", "Infinity")), ...one }))
    .sort((a, b) => a.le - b.le);
  const LEFT = 60;
  const FOOT = 20;
  const times = [...new Set(series.flatMap((one) => one.times))].sort();
  const x = (time) => LEFT + ((time - from) / (to - from)) * (width - LEFT);
  const step = (height - FOOT) / series.length;
  const cells = series.flatMap(({ le, times: at, values }, row) => at.map((time, i) => {
    const below = row ? series[row - 1].values[series[row - 1].times.indexOf(time)] ?? 0 : 0;
    return { row, le, time, count: Math.max(0, values[i] - below) };
  })).filter((cell) => cell.count > 1e-9);
  const most = Math.max(...cells.map((cell) => cell.count));
  const display = getDisplayProcessor({
    theme, field: { type: FieldType.number, config: { unit: panel.options.yAxis.unit } },
  });
  const label = (value) => {
    const shown = display(value);
    return `${shown.prefix ?? ""}${shown.text}${shown.suffix ?? ""}`;
  };
  const wide = (width - LEFT) / Math.max(1, times.length) + 0.5;
  return (
    <svg width={width} height={height} fontSize="11" fill={theme.colors.text.secondary}>
      {cells.map(({ row, time, count }) => (
        <rect key={`${row}-${time}`} x={x(time)} y={height - FOOT - (row + 1) * step}
          width={wide} height={step - 1} fill={interpolateCividis(Math.sqrt(count / most))} />
      ))}
      {series.map(({ le }, row) => row % 2 ? null : (
        <text key={le} x={LEFT - 6} y={height - FOOT - row * step - step / 4}
          textAnchor="end">{le === Infinity ? "more" : label(le)}</text>
      ))}
      {[0, 0.25, 0.5, 0.75].map((share) => (
        <text key={share} x={LEFT + share * (width - LEFT)} y={height - 4}>
          {dateTime(from + share * (to - from)).utc().format("HH:mm:ss")}
        </text>
      ))}
    </svg>
  );
}

function Content({ panel, width, height }) {
  const { options } = panel;
  switch (panel.type) {
    case "timeseries":
      return <TimeSeries frames={frames(panel)} width={width} height={height}
        timeRange={timeRange} timeZone="utc" legend={options.legend} options={options} />;
    case "stat": {
      const [one] = displayed(panel);
      return <BigValue value={one.display} sparkline={one.sparkline} width={width}
        height={height} theme={theme} colorMode={options.colorMode}
        graphMode={options.graphMode} justifyMode={options.justifyMode}
        textMode="value" />;
    }
    case "bargauge":
      return <VizRepeater getValues={() => displayed(panel)} width={width} height={height}
        source={panel} renderCounter={0} orientation="horizontal"
        minVizHeight={options.minVizHeight} maxVizHeight={options.maxVizHeight}
        getAlignmentFactors={getDisplayValueAlignmentFactors}
        renderValue={({ value, width: w, height: h, alignmentFactors }) => (
          <BarGauge value={value.display} field={value.field} width={w} height={h}
            display={value.view?.getFieldDisplayProcessor(value.colIndex ?? 0)}
            theme={theme} orientation="horizontal" alignmentFactors={alignmentFactors}
            displayMode={options.displayMode} namePlacement={options.namePlacement}
            showUnfilled={options.showUnfilled} valueDisplayMode={options.valueMode} />
        )} />;
    case "heatmap":
      return <Heat panel={panel} width={width} height={height} />;
    case "table":
      return <Table data={columns(panel)} width={width} height={height}
        initialSortBy={options.sortBy} />;
    default:
      throw new Error(`no way to draw ${panel.type}`);
  }
}

function Dashboard() {
  const unit = WIDTH / 24;
  const tallest = Math.max(...dashboard.panels.map(({ gridPos: g }) => g.y + g.h));
  return (
    <div style={{
      position: "relative", width: WIDTH, height: tallest * ROW + 48,
      background: theme.colors.background.canvas, color: theme.colors.text.primary,
      fontFamily: theme.typography.fontFamily,
    }}>
      <h3 style={{ margin: 0, padding: "10px 16px", fontSize: 20 }}>{dashboard.title}</h3>
      {dashboard.panels.map((panel) => {
        const { x, y, w, h } = panel.gridPos;
        const place = { position: "absolute", left: x * unit + GAP / 2, top: y * ROW + 48 };
        if (panel.type === "row") {
          return <h4 key={panel.id} style={{ ...place, margin: 0, padding: 8, fontSize: 15 }}>
            {panel.title}</h4>;
        }
        const empty = answers[panel.id].every(({ series }) => series.length === 0);
        return (
          <div key={panel.id} style={place} data-panel={panel.title}>
            <PanelChrome title={panel.title} width={w * unit - GAP} height={h * ROW - GAP}>
              {(width, height) => empty
                ? <div style={{ padding: 16 }}>No data: it cannot run here</div>
                : <Content panel={panel} width={width} height={height} />}
            </PanelChrome>
          </div>
        );
      })}
    </div>
  );
}

// What was drawn, for whoever asks for the document afterwards.
function report() {
  const drawn = {};
  for (const panel of document.querySelectorAll("[data-panel]")) {
    let ink = 0;
    for (const canvas of panel.querySelectorAll("canvas")) {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      for (let at = 3; at < data.length; at += 4) ink += data[at] > 0;
    }
    drawn[panel.dataset.panel] = {
      ink, shapes: panel.querySelectorAll("rect").length, text: panel.innerText,
    };
  }
  const text = document.createElement("script");
  text.type = "application/json";
  text.id = "drawn";
  text.textContent = JSON.stringify({ drawn, errors: window.ERRORS });
  document.body.append(text);
}

window.ERRORS = [];
window.addEventListener("error", (event) => window.ERRORS.push(String(event.message)));
document.body.style.margin = 0;
const root = document.createElement("div");
document.body.append(root);
createRoot(root).render(
  <ThemeContext.Provider value={theme}><GlobalStyles /><Dashboard /></ThemeContext.Provider>,
);
setTimeout(report, 1500);
