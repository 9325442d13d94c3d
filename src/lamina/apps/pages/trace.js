"use strict";
// The cosines of every two uses of a word, as ten-thousandths; a slider says of which layer.
(() => {
  const $ = (id) => document.getElementById(id), STEP = 10000, EDGE = 7;
  const data = JSON.parse($("trace-data").textContent), dark = matchMedia("(prefers-color-scheme: dark)");
  const clamp = (x, low, high) => Math.min(high, Math.max(low, x));
  const make = (name, text, more = {}) => Object.assign(document.createElement(name), { textContent: text, ...more });
  const rgb = (hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));
  const canvas = $("matrix");
  let word, n, whole, layer = data.layers.length - 1, low, high, cell, at = [0, 0];

  const cosine = (i, j) => whole[(layer * n + i) * n + j];
  const hue = (i) => { const k = [...new Set(word.groups)].indexOf(word.groups[i]); return word.groups[i] ? data.palette[k % data.palette.length] : "#999999"; };
  function ramp(t) { // paper to ink by way of blue, the darker or lighter the more alike
    const paper = rgb(getComputedStyle(document.documentElement).getPropertyValue("--paper").trim());
    const stops = dark.matches ? [paper, rgb("#0b5d91"), rgb("#56b4e9"), rgb("#f2faff")] : [paper, rgb("#8fcdf0"), rgb("#0072b2"), rgb("#052c49")];
    const s = Math.min(Math.floor(t * 3), 2);
    return stops[s].map((c, i) => Math.round(c + (stops[s + 1][i] - c) * (t * 3 - s)));
  }
  function draw() {
    const off = [];
    for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) off.push(cosine(i, j));
    off.sort((a, b) => a - b);
    [low, high] = [off[0], off[off.length - 1]];
    const colours = Array.from({ length: 101 }, (_, k) => ramp(k / 100)), image = new ImageData(n, n);
    for (let i = 0; i < n; i++) for (let j = 0; j < n; j++)
      image.data.set([...colours[Math.round(100 * clamp((cosine(i, j) - low) / (high - low || 1), 0, 1))], 255], 4 * (i * n + j));
    const side = canvas.clientWidth || 300, density = Math.min(devicePixelRatio || 1, 2), context = canvas.getContext("2d");
    const small = Object.assign(document.createElement("canvas"), { width: n, height: n });
    small.getContext("2d").putImageData(image, 0, 0);
    canvas.width = canvas.height = Math.round(side * density);
    canvas.style.height = `${side}px`;
    cell = (side - EDGE) / n;
    context.scale(density, density);
    context.imageSmoothingEnabled = false;
    context.drawImage(small, EDGE, EDGE, cell * n, cell * n);
    for (let i = 0; i < n; i++) {
      context.fillStyle = hue(i);
      context.fillRect(0, EDGE + i * cell, EDGE - 2, Math.max(cell - 0.5, 0.5));
      context.fillRect(EDGE + i * cell, 0, Math.max(cell - 0.5, 0.5), EDGE - 2);
    }
    $("name").textContent = data.layers[layer];
    $("low").textContent = (low / STEP).toFixed(3);
    $("high").textContent = (high / STEP).toFixed(3);
    $("ramp").style.background = `linear-gradient(to right, ${colours.filter((_, k) => k % 10 === 0).map((c) => `rgb(${c})`)})`;
    document.body.dataset.ready = "yes";
  }
  function sentence([before, use, after]) {
    const all = document.createElement("bdi");
    all.append(before, make("mark", use), after);
    return all;
  }
  function list() {
    $("uses").replaceChildren(...word.uses.map((use, i) => {
      const item = document.createElement("li");
      item.style.setProperty("--hue", hue(i));
      if (word.groups[i]) item.append(make("span", word.groups[i], { className: "group" }));
      item.append(sentence(use));
      return item;
    }));
  }
  function say(i, j) {
    const items = $("uses").children;
    [...items].forEach((item, k) => item.classList.toggle("on", k === i || k === j));
    $("said").replaceChildren(make("b", (cosine(i, j) / STEP).toFixed(4)), ` uses ${i + 1} and ${j + 1}${word.groups[i] ? ` (${word.groups[i]}, ${word.groups[j]})` : ""}`);
    const box = $("uses"), item = items[i];
    if (item.offsetTop - box.offsetTop < box.scrollTop || item.offsetTop - box.offsetTop > box.scrollTop + box.clientHeight - 20) box.scrollTop = item.offsetTop - box.offsetTop - 40;
    at = [i, j];
  }
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    const [j, i] = [event.clientX - box.left, event.clientY - box.top].map((x) => Math.floor((x - EDGE) / cell));
    if (i >= 0 && j >= 0 && i < n && j < n) say(i, j);
  });
  canvas.addEventListener("keydown", (event) => {
    const by = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    if (!by) return;
    event.preventDefault();
    say(clamp(at[0] + by[0], 0, n - 1), clamp(at[1] + by[1], 0, n - 1));
  });
  function open(k) {
    word = data.words[k];
    n = word.uses.length;
    whole = new Int16Array(Uint8Array.from(atob(word.similarity), (c) => c.charCodeAt(0)).buffer);
    at = [0, 0];
    list();
    draw();
  }
  $("word").parentElement.hidden = data.words.length < 2;
  $("at").hidden = data.layers.length < 2;
  $("word").addEventListener("change", (event) => open(+event.target.value));
  $("layer").addEventListener("input", (event) => { layer = +event.target.value; draw(); say(...at); });
  dark.addEventListener("change", draw);
  addEventListener("resize", draw);
  open(0);
})();
