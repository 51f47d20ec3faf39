"use strict";
// Draws detections on a canvas over Leaflet. Detections come sorted by score, best first, as typed
// arrays, so that a move of the slider reads a part of them from the front.
(() => {
  const page = JSON.parse(document.getElementById("data").textContent);
  const array = (type, text) => {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    return new type(bytes.buffer);
  };
  const SceneIndex = page.scenes.length > 65535 ? Uint32Array : Uint16Array;
  const CM = 100; // corners are in centimetres
  const found = {
    corners: array(Int32Array, page.found.corners),
    score: array(Float32Array, page.found.score),
    place: array(Float32Array, page.found.place), // col, row, length, width
    scene: array(SceneIndex, page.found.scene),
    kind: array(Uint8Array, page.found.class),
    outcome: array(Uint8Array, page.found.outcome),
  };
  const truth = {
    corners: array(Int32Array, page.truth.corners),
    score: array(Float32Array, page.truth.score), // of the detection that matches it; -1 for none
    scene: array(SceneIndex, page.truth.scene),
    kind: array(Uint8Array, page.truth.class),
  };
  const N = found.score.length;
  const OUTCOMES = ["not known: no labels here", "correct", "false alarm", "not counted"];
  const OUTCOME_COLORS = ["#c9d1d8", "#35b8ff", "#ff8c1a", "#9aa4ad"];
  const MISSED_COLOR = "#ff3ea5";
  const STEPS = 24;
  const RAMP = ["#0d0887", "#5c01a6", "#9c179e", "#cc4778", "#ed7953", "#fdb42f", "#f0f921"];
  const mix = (share) => {
    const at = Math.min(share, 0.9999) * (RAMP.length - 1);
    const ends = [RAMP[Math.floor(at)], RAMP[Math.floor(at) + 1]];
    const channels = [1, 3, 5].map((start) => {
      const [low, high] = ends.map((color) => parseInt(color.slice(start, start + 2), 16));
      return Math.round(low + (high - low) * (at % 1));
    });
    return `rgb(${channels.join(",")})`;
  };
  const lowest = page.min_score;
  const stepOf = (score) =>
    Math.max(0, Math.min(STEPS - 1, Math.floor(((score - lowest) / (1 - lowest || 1)) * STEPS)));
  const COLORS = Array.from({ length: STEPS }, (_, step) => mix((step + 0.5) / STEPS));

  const isEarth = page.crs === "earth";
  const crs = isEarth ? L.CRS.EPSG3857 : L.CRS.Simple;
  const map = L.map("map", {
    crs, zoomAnimation: false, fadeAnimation: false, minZoom: isEarth ? 0 : -8, maxZoom: isEarth ? 23 : 6,
    zoomSnap: 0.5, attributionControl: false, preferCanvas: true,
  });
  const unproject = (x, y) => crs.projection.unproject(L.point(x, y));
  const bounds = (box) => L.latLngBounds(unproject(box[0], box[1]), unproject(box[2], box[3]));
  const number = (value, digits = 0) =>
    value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });

  for (const scene of page.scenes) {
    if (scene.image) L.imageOverlay(scene.image, bounds(scene.image_bounds), { interactive: false }).addTo(map);
    const outline = scene.outline.map((ring) => ring.map(([x, y]) => unproject(x, y)));
    const shape = L.polygon(outline, { color: "#1f6f9c", weight: 1.5, fill: false, interactive: false }).addTo(map);
    if (page.scenes.length <= 60) {
      const split = scene.split ? ` (${scene.split})` : "";
      shape.bindTooltip(document.createTextNode(scene.name + split).textContent.replace(/[&<>]/g, (c) => `&#${c.charCodeAt(0)};`),
        { permanent: !isEarth, direction: "center", className: "scene-name", sticky: isEarth });
    }
  }
  const world = L.latLngBounds(page.scenes.map((scene) => bounds(scene.bounds)).flatMap((b) => [b.getSouthWest(), b.getNorthEast()]));

  // ---- the canvas
  const canvas = L.DomUtil.create("canvas", "leaflet-layer", map.getPanes().overlayPane);
  canvas.style.pointerEvents = "none";
  const pen = canvas.getContext("2d");
  const element = (id) => document.getElementById(id);
  const slider = element("slider");
  const state = { threshold: lowest, classes: null, splits: null, byOutcome: page.has_truth, redrawMs: 0, shown: 0 };
  const sceneShown = new Uint8Array(page.scenes.length).fill(1);
  const classShown = new Uint8Array(page.classes.length).fill(1);

  const toScreen = () => {
    const scale = crs.scale(map.getZoom());
    const t = crs.transformation;
    const corner = map.getPixelBounds().min;
    return { ax: (scale * t._a) / CM, bx: scale * t._b - corner.x, ay: (scale * t._c) / CM, by: scale * t._d - corner.y };
  };
  const isShown = (index) => classShown[found.kind[index]] && sceneShown[found.scene[index]];
  const traceBox = (corners, at, s) => {
    pen.moveTo(corners[at] * s.ax + s.bx, corners[at + 1] * s.ay + s.by);
    for (let k = 2; k < 8; k += 2) pen.lineTo(corners[at + k] * s.ax + s.bx, corners[at + k + 1] * s.ay + s.by);
    pen.closePath();
  };
  // A hundred thousand marks are written into the pixels themselves, which is far faster than
  // asking the canvas for each; a few thousand boxes are drawn as smooth lines.
  const CELL = 3; // px of a detection that is too small to be a box
  const MAX_SMOOTH = 3000;
  const word = (color) => {
    const parts = color[0] === "#" ? [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16)) : color.match(/\d+/g).map(Number);
    return ((255 << 24) | (parts[2] << 16) | (parts[1] << 8) | parts[0]) >>> 0;
  };
  const SCORE_WORDS = Uint32Array.from(COLORS, word);
  const OUTCOME_WORDS = Uint32Array.from(OUTCOME_COLORS, word);
  let image = null, pixels = null;
  const mark = (x, y, color, width, height, ratio) => {
    const side = Math.round(CELL * ratio), half = side >> 1;
    const left = Math.round(x * ratio) - half, top = Math.round(y * ratio) - half;
    for (let row = Math.max(0, top); row < Math.min(height, top + side); row += 1) {
      for (let col = Math.max(0, left); col < Math.min(width, left + side); col += 1) pixels[row * width + col] = color;
    }
  };
  const line = (x, y, x2, y2, color, width, height) => {
    const steps = Math.min(4000, Math.ceil(Math.max(Math.abs(x2 - x), Math.abs(y2 - y), 1)));
    const dx = (x2 - x) / steps, dy = (y2 - y) / steps;
    for (let step = 0; step <= steps; step += 1) {
      const col = Math.round(x + dx * step), row = Math.round(y + dy * step);
      if (col >= 0 && row >= 0 && col < width && row < height) pixels[row * width + col] = color;
    }
  };
  const rasterBox = (at, s, ratio, color, width, height) => {
    const c = found.corners;
    for (let k = 0; k < 8; k += 2) {
      const n = (k + 2) % 8;
      line((c[at + k] * s.ax + s.bx) * ratio, (c[at + k + 1] * s.ay + s.by) * ratio,
        (c[at + n] * s.ax + s.bx) * ratio, (c[at + n + 1] * s.ay + s.by) * ratio, color, width, height);
    }
  };
  const countAbove = (threshold) => {
    let low = 0, high = N;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (found.score[middle] >= threshold) low = middle + 1; else high = middle;
    }
    return low;
  };
  const resize = (size, ratio) => {
    const width = Math.round(size.x * ratio), height = Math.round(size.y * ratio);
    if (canvas.width !== width || canvas.height !== height || !image) {
      canvas.width = width;
      canvas.height = height;
      canvas.style.width = `${size.x}px`;
      canvas.style.height = `${size.y}px`;
      image = pen.createImageData(width, height);
      pixels = new Uint32Array(image.data.buffer);
    }
    pixels.fill(0);
  };
  const drawBoxes = (boxes, s, ratio) => {
    if (boxes.length > MAX_SMOOTH) {
      const words = state.byOutcome ? OUTCOME_WORDS : SCORE_WORDS;
      for (const index of boxes) {
        const group = state.byOutcome ? found.outcome[index] : stepOf(found.score[index]);
        rasterBox(index * 8, s, ratio, words[group], canvas.width, canvas.height);
      }
      pen.putImageData(image, 0, 0);
      return;
    }
    pen.putImageData(image, 0, 0);
    const groups = new Map();
    for (const index of boxes) {
      const group = state.byOutcome ? found.outcome[index] : stepOf(found.score[index]);
      if (!groups.has(group)) groups.set(group, []);
      groups.get(group).push(index);
    }
    pen.lineWidth = 2;
    for (const group of [...groups.keys()].sort((a, b) => a - b)) {
      pen.strokeStyle = (state.byOutcome ? OUTCOME_COLORS : COLORS)[group];
      pen.beginPath();
      for (const index of groups.get(group)) traceBox(found.corners, index * 8, s);
      pen.stroke();
    }
  };
  const draw = () => {
    const begin = performance.now();
    const size = map.getSize();
    const ratio = window.devicePixelRatio || 1;
    resize(size, ratio);
    L.DomUtil.setPosition(canvas, map.containerPointToLayerPoint([0, 0]));
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    const s = toScreen();
    const c = found.corners;
    const words = state.byOutcome ? OUTCOME_WORDS : SCORE_WORDS;
    const boxes = [];
    let shown = 0, sum = 0, correct = 0, wrong = 0;
    for (let index = countAbove(state.threshold) - 1; index >= 0; index -= 1) { // the best on top
      if (!isShown(index)) continue;
      const score = found.score[index], outcome = found.outcome[index];
      shown += 1;
      sum += score;
      if (outcome === 1) correct += 1;
      else if (outcome === 2) wrong += 1;
      const at = index * 8;
      const x = c[at] * s.ax + s.bx, y = c[at + 1] * s.ay + s.by;
      const x2 = c[at + 4] * s.ax + s.bx, y2 = c[at + 5] * s.ay + s.by;
      if ((x < 0 && x2 < 0) || (y < 0 && y2 < 0) || (x > size.x && x2 > size.x) || (y > size.y && y2 > size.y)) continue;
      if (Math.abs(x2 - x) + Math.abs(y2 - y) < 10) {
        mark((x + x2) / 2, (y + y2) / 2, words[state.byOutcome ? outcome : stepOf(score)], canvas.width, canvas.height, ratio);
      } else boxes.push(index);
    }
    drawBoxes(boxes, s, ratio);
    const missed = drawMissed(s, size);
    tell(shown, sum, correct, wrong, missed);
    state.redrawMs = performance.now() - begin;
    state.shown = shown;
  };
  const drawMissed = (s, size) => {
    let missed = 0, objects = 0;
    pen.strokeStyle = MISSED_COLOR;
    pen.setLineDash([4, 3]);
    pen.beginPath();
    for (let index = 0; index < truth.score.length; index += 1) {
      if (!classShown[truth.kind[index]] || !sceneShown[truth.scene[index]]) continue;
      objects += 1;
      if (truth.score[index] >= state.threshold) continue;
      missed += 1;
      const c = truth.corners, at = index * 8;
      const x = ((c[at] + c[at + 4]) / 2) * s.ax + s.bx, y = ((c[at + 1] + c[at + 5]) / 2) * s.ay + s.by;
      if (x < -50 || y < -50 || x > size.x + 50 || y > size.y + 50) continue;
      const width = Math.abs(c[at + 4] - c[at]) * Math.abs(s.ax);
      if (width < 8) { pen.moveTo(x + 4, y); pen.arc(x, y, 4, 0, 7); } else traceBox(c, at, s);
    }
    pen.stroke();
    pen.setLineDash([]);
    return { missed, objects };
  };
  const tell = (shown, sum, correct, wrong, { missed, objects }) => {
    element("count").textContent = number(shown);
    element("threshold").textContent = state.threshold.toFixed(2);
    element("expected").textContent = shown
      ? `about ${number(sum, sum < 10 ? 1 : 0)} of them right: expected precision ${number((100 * sum) / shown, 1)} %`
      : "none shown: lower the score";
    if (page.has_truth) {
      const judged = correct + wrong;
      element("measured").textContent = judged
        ? `against labels: ${number(correct)} correct, ${number(wrong)} false alarms, ${number(missed)} of ${number(objects)} missed: ` +
          `precision ${number((100 * correct) / judged, 1)} %` + (objects ? `, recall ${number((100 * (objects - missed)) / objects, 1)} %` : "")
        : `against labels: ${number(missed)} of ${number(objects)} missed`;
    }
  };
  let waiting = false;
  const redraw = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; draw(); });
  };

  // ---- panel
  const legend = () => {
    const box = element("legend");
    box.replaceChildren();
    if (!state.byOutcome) {
      const ramp = document.createElement("div");
      ramp.id = "ramp";
      ramp.style.background = `linear-gradient(90deg, ${COLORS.join(",")})`;
      const ends = document.createElement("div");
      ends.className = "ends";
      ends.innerHTML = `<span>score ${lowest.toFixed(2)}</span><span>1</span>`;
      box.append(ramp, ends);
    }
    const lines = state.byOutcome ? OUTCOMES.map((name, at) => [name, OUTCOME_COLORS[at], "solid"]).filter((_, at) => found.outcome.includes(at)) : [];
    if (page.has_truth) lines.push(["missed object", MISSED_COLOR, "dashed"]);
    lines.push(["scene", "#1f6f9c", "solid"]);
    for (const [name, color, line] of lines) {
      const row = document.createElement("div");
      const key = document.createElement("span");
      key.className = "key";
      key.style.border = `2px ${line} ${color}`;
      row.append(key, name);
      box.append(row);
    }
  };
  const choices = (id, names, apply) => {
    const box = element(id);
    if (names.length < 2) return;
    for (const name of names) {
      const label = document.createElement("label");
      const tick = document.createElement("input");
      tick.type = "checkbox";
      tick.checked = true;
      tick.addEventListener("change", () => { apply(name, tick.checked); redraw(); });
      label.append(tick, ` ${name}`);
      box.append(label);
    }
  };
  choices("classes", page.classes, (name, on) => { classShown[page.classes.indexOf(name)] = on ? 1 : 0; });
  choices("splits", [...new Set(page.scenes.map((scene) => scene.split).filter(Boolean))], (name, on) => {
    page.scenes.forEach((scene, at) => { if (scene.split === name) sceneShown[at] = on ? 1 : 0; });
  });
  slider.min = lowest;
  slider.max = 1;
  slider.step = 0.005;
  slider.value = lowest;
  slider.addEventListener("input", () => { state.threshold = Number(slider.value) <= lowest ? lowest : Number(slider.value); redraw(); });
  const colorButton = element("by-outcome");
  if (page.has_truth) {
    colorButton.hidden = false;
    colorButton.setAttribute("aria-pressed", "true");
    colorButton.addEventListener("click", () => {
      state.byOutcome = !state.byOutcome;
      colorButton.setAttribute("aria-pressed", String(state.byOutcome));
      legend();
      redraw();
    });
  }
  // ---- scenes one after another
  const perScene = new Uint32Array(page.scenes.length);
  for (let index = 0; index < N; index += 1) perScene[found.scene[index]] += 1;
  const picker = element("scene");
  const option = (text) => picker.append(new Option(text));
  option(`all ${number(page.scenes.length)} scenes`);
  if (page.scenes.length < 2) picker.parentElement.style.display = "none";
  page.scenes.forEach((scene, at) => option(`${scene.name}: ${number(perScene[at])}${scene.split ? `, ${scene.split}` : ""}`));
  const go = (at) => {
    picker.selectedIndex = at;
    map.closePopup();
    map.fitBounds(at ? bounds(page.scenes[at - 1].bounds) : world, fit());
    redraw();
  };
  const step = (by) => go((picker.selectedIndex + by + picker.length) % picker.length);
  picker.addEventListener("change", () => go(picker.selectedIndex));
  element("before").addEventListener("click", () => step(-1));
  element("after").addEventListener("click", () => step(1));
  // Scenes far apart are points on a map of them all: the one with most to see is shown first.
  const SMALLEST_SIDE = 60; // px
  const firstView = () => {
    map.fitBounds(world, fit());
    const scale = crs.scale(map.getZoom()) * Math.abs(crs.transformation._a);
    const side = Math.max(...page.scenes.map(({ bounds: b }) => (b[2] - b[0]) * scale));
    if (side >= SMALLEST_SIDE) return 0;
    const ranks = page.scenes.map((scene, at) => perScene[at] + (scene.split === "test" && perScene[at] ? N : 0));
    return ranks.indexOf(Math.max(...ranks)) + 1;
  };

  // ---- a pop-up of the detection under a click
  const escape = (value) => String(value).replace(/[&<>"]/g, (letter) => `&#${letter.charCodeAt(0)};`);
  const nearest = (point) => {
    const s = toScreen();
    let best = -1, least = 1e9;
    for (let index = 0; index < N && found.score[index] >= state.threshold; index += 1) {
      if (!isShown(index)) continue;
      const c = found.corners, at = index * 8;
      const x = ((c[at] + c[at + 4]) / 2) * s.ax + s.bx - point.x, y = ((c[at + 1] + c[at + 5]) / 2) * s.ay + s.by - point.y;
      const reach = Math.max(10, (Math.hypot(c[at + 4] - c[at], c[at + 5] - c[at + 1]) / 2) * s.ax);
      const distance = Math.hypot(x, y);
      if (distance <= reach && distance < least) { least = distance; best = index; }
    }
    return best;
  };
  const card = (index) => {
    const scene = page.scenes[found.scene[index]];
    const [col, row, length, width] = found.place.subarray(index * 4, index * 4 + 4);
    const rows = [
      ["class", page.classes[found.kind[index]]], ["score", found.score[index].toFixed(3)],
      ["size", Number.isFinite(length) ? `${length.toFixed(1)} × ${width.toFixed(1)} m` : "not known"],
      ["scene", scene.name], ["col, row", `${col.toFixed(1)}, ${row.toFixed(1)} px`],
    ];
    if (scene.acquired) rows.push(["acquired", scene.acquired]);
    if (scene.split) rows.push(["split", scene.split]);
    if (page.has_truth) rows.push(["result", OUTCOMES[found.outcome[index]]]);
    rows.push(["id", page.found.id[index]]);
    const chip = page.chips[index];
    const picture = chip ? `<img class="chip" alt="detection in the middle" src="${chip}">` : "";
    return picture + "<table>" + rows.map(([name, value]) => `<tr><th>${name}</th><td>${escape(value)}</td></tr>`).join("") + "</table>";
  };
  const open = (index) => {
    const c = found.corners, at = index * 8;
    const middle = unproject((c[at] + c[at + 4]) / 2 / CM, (c[at + 1] + c[at + 5]) / 2 / CM);
    const room = fit();
    L.popup({ minWidth: 200, maxWidth: 260, autoPanPaddingTopLeft: [50, 20], autoPanPaddingBottomRight: room.paddingBottomRight }).setLatLng(middle).setContent(card(index)).openOn(map);
  };

  // ---- measuring distances
  const ruler = { on: false, line: null };
  const rulerButton = element("measure");
  const meters = (a, b) => (isEarth ? L.CRS.Earth.distance(a, b) : Math.hypot(a.lat - b.lat, a.lng - b.lng));
  const lengthText = (value) => {
    if (!page.is_metric) return `${number(value)} px`;
    return value < 1000 ? `${number(value, 1)} m` : `${number(value / 1000, 2)} km`;
  };
  const measure = (latlng) => {
    if (!ruler.line) ruler.line = L.polyline([], { color: "#fff", weight: 3, interactive: false }).addTo(map);
    ruler.line.addLatLng(latlng);
    const points = ruler.line.getLatLngs();
    let total = 0;
    for (let at = 1; at < points.length; at += 1) total += meters(points[at - 1], points[at]);
    element("distance").textContent = points.length > 1 ? `distance ${lengthText(total)}` : "click the next point";
  };
  rulerButton.addEventListener("click", () => {
    ruler.on = !ruler.on;
    rulerButton.setAttribute("aria-pressed", String(ruler.on));
    element("map").style.cursor = ruler.on ? "crosshair" : "";
    if (ruler.line) { ruler.line.remove(); ruler.line = null; }
    element("distance").textContent = ruler.on ? "click two or more points" : "";
  });
  map.on("click", (event) => {
    if (ruler.on) { measure(event.latlng); return; }
    const index = nearest(event.containerPoint);
    if (index >= 0) open(index);
  });

  // ---- start
  const fit = () => {
    const panel = element("panel").getBoundingClientRect();
    const narrow = window.innerWidth <= 640;
    document.documentElement.style.setProperty("--panel-height", `${narrow ? panel.height : 0}px`);
    return { paddingTopLeft: [20, 20], paddingBottomRight: narrow ? [20, panel.height + 10] : [panel.width + 30, 20] };
  };
  new ResizeObserver(fit).observe(element("panel")); // it grows as it is filled, and the scale stands above it
  if (isEarth) L.control.scale({ imperial: false, position: "bottomleft" }).addTo(map);
  legend();
  map.on("move moveend zoomend viewreset resize", redraw);
  if (page.scenes.length) go(firstView()); else map.setView([0, 0], 1);
  draw();
  window.windhoverMap = { map, state, draw, open, pointOf: (index) => {
    const s = toScreen(), c = found.corners, at = index * 8;
    return { x: ((c[at] + c[at + 4]) / 2) * s.ax + s.bx, y: ((c[at + 1] + c[at + 5]) / 2) * s.ay + s.by };
  } };
})();
