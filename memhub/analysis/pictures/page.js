"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);
  const shown = new Map();
  const state = { who: "", which: "", moment: null, tick: 0, left: data.ends[0], right: data.ends[1] };

  const make = (tag, text, attributes = {}) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };

  // Views

  const applyState = (entry) => {
    for (const [name, value] of Object.entries(state)) entry.view.signal(name, value);
    return entry.view.runAsync();
  };

  const applyAll = () => Promise.all([...shown.values()].map(applyState));

  const draw = async (figure) => {
    const element = byId(figure.name);
    const chart = element.querySelector(".chart");
    const made = await vegaEmbed(chart.firstElementChild, figure.spec, {
      renderer: "svg", actions: false, ast: true, hover: false,
    });
    const entry = {
      figure, element, chart, view: made.view, at: -1,
      marks: new Map(figure.marks.map((mark, place) => [mark.id, place])),
    };
    shown.set(figure.name, entry);
    made.view.addEventListener("click", (event, item) => {
      const id = item && item.datum && item.datum.mark;
      if (id !== undefined && entry.marks.has(id)) {
        pick(entry, entry.marks.get(id));
        openRecords(entry);
      }
    });
    chart.addEventListener("keydown", (event) => pressKey(entry, event));
    const list = element.querySelector("details");
    if (list) list.addEventListener("toggle", () => listMarks(entry, list));
    element.dataset.drawn = "yes";
  };

  // Marks

  const isAbout = (mark) =>
    (!state.who || mark.people.includes(state.who)) &&
    (!state.which || mark.machine === state.which);

  const pick = (entry, place) => {
    entry.at = place;
    const mark = entry.figure.marks[place];
    entry.element.querySelector(".said").textContent = mark ? mark.say : "";
    entry.view.signal("pick", mark ? mark.id : "").runAsync();
  };

  const step = (entry, by) => {
    const marks = entry.figure.marks;
    for (let place = entry.at + by; place >= 0 && place < marks.length; place += by) {
      if (isAbout(marks[place])) return pick(entry, place);
    }
  };

  const pressKey = (entry, event) => {
    const keys = {
      ArrowRight: () => step(entry, 1),
      ArrowLeft: () => step(entry, -1),
      Home: () => { entry.at = -1; step(entry, 1); },
      End: () => { entry.at = entry.figure.marks.length; step(entry, -1); },
      Enter: () => entry.at >= 0 && openRecords(entry),
      Escape: () => { pick(entry, -1); closeRecords(); },
    };
    if (keys[event.key] && !event.ctrlKey && !event.altKey && !event.metaKey) {
      keys[event.key]();
      event.preventDefault();
    }
  };

  const listMarks = (entry, list) => {
    const place = list.querySelector(".mark-list");
    if (!list.open || place.childElementCount) return;
    const rows = make("ol");
    entry.figure.marks.forEach((mark, at) => {
      const button = make("button", mark.say, { type: "button", class: "link" });
      button.addEventListener("click", () => { pick(entry, at); openRecords(entry); });
      const row = make("li");
      row.append(button);
      rows.append(row);
    });
    place.append(rows);
  };

  // Records

  let opener = null;

  const showRecord = (key) => {
    const record = data.records[key];
    const article = make("article");
    if (!record) {
      const [log, place] = key.split(" ");
      article.append(make("p", `Record ${place} of log ${data.logs[log]} is not in this page.`));
      return article;
    }
    article.append(make("code", record.line, { class: "line" }));
    if (record.slots.length) {
      const list = make("ul");
      record.slots.forEach((text) => list.append(make("li", text)));
      const few = record.slots.length <= 8;
      const box = few ? list : make("details");
      if (!few) box.append(make("summary", `${record.slots.length} slots`), list);
      article.append(box);
    }
    const details = make("details");
    details.append(make("summary", "All members"));
    const members = make("dl");
    for (const [name, value] of Object.entries(record.members)) {
      members.append(make("dt", name), make("dd", String(value)));
    }
    details.append(members);
    article.append(details);
    return article;
  };

  const openRecords = (entry) => {
    const mark = entry.figure.marks[entry.at];
    if (!mark) return;
    const body = byId("records-body");
    byId("records-title").textContent = mark.say;
    body.replaceChildren(...mark.records.map(showRecord));
    if (!mark.records.length) body.append(make("p", "No record is behind this mark."));
    if (mark.more) body.append(make("p", `${mark.more} further records are behind this mark.`));
    opener = document.activeElement;
    byId("records").hidden = false;
    byId("records-close").focus();
  };

  const closeRecords = () => {
    if (byId("records").hidden) return;
    byId("records").hidden = true;
    if (opener && opener.isConnected) opener.focus();
  };

  // Controls

  const showMachine = () => {
    state.which = byId("which").value;
    for (const element of document.querySelectorAll("figure[data-machine]")) {
      const own = element.dataset.machine;
      element.hidden = Boolean(state.which && own && own !== state.which);
    }
    return applyAll().then(fitScreen);
  };

  const showMoment = () => {
    const slider = byId("moment");
    const it = data.moments[Number(slider.value)];
    if (!it) return Promise.resolve();
    state.moment = it.at;
    state.tick = Number(slider.value);
    byId("moment-text").textContent = it.say;
    byId("moment-print").textContent = it.say;
    slider.setAttribute("aria-valuetext", it.say);
    return applyAll();
  };

  const stepMoment = (by) => {
    const slider = byId("moment");
    slider.value = String(Number(slider.value) + by);
    return showMoment();
  };

  const moveWindow = (zoom, shift) => {
    const width = (state.right - state.left) * zoom;
    const hasMoment = state.moment !== null && state.moment >= state.left
      && state.moment <= state.right;
    const middle = zoom < 1 && hasMoment ? state.moment : (state.left + state.right) / 2;
    const [low, high] = data.ends;
    const whole = high - low;
    const size = Math.min(width, whole);
    let left = middle - size / 2 + shift * size;
    left = Math.max(low, Math.min(left, high - size));
    state.left = left;
    state.right = left + size;
    return applyAll();
  };

  const windows = {
    "window-all": () => { [state.left, state.right] = data.ends; return applyAll(); },
    "window-in": () => moveWindow(0.5, 0),
    "window-out": () => moveWindow(2, 0),
    "window-earlier": () => moveWindow(1, -0.5),
    "window-later": () => moveWindow(1, 0.5),
  };

  // Paper has a width of its own
  const printWidth = 720;

  const fitPaper = () => {
    for (const { view } of shown.values()) view.width(printWidth).run();
  };

  const fitScreen = () => window.dispatchEvent(new Event("resize"));

  const connect = () => {
    window.addEventListener("beforeprint", fitPaper);
    window.addEventListener("afterprint", fitScreen);
    byId("which").addEventListener("change", showMachine);
    byId("who").addEventListener("change", () => { state.who = byId("who").value; applyAll(); });
    for (const [id, act] of Object.entries(windows)) byId(id).addEventListener("click", act);
    byId("moment").addEventListener("input", showMoment);
    byId("moment-before").addEventListener("click", () => stepMoment(-1));
    byId("moment-after").addEventListener("click", () => stepMoment(1));
    byId("records-close").addEventListener("click", closeRecords);
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape") closeRecords();
    });
    byId("controls").querySelector("form").addEventListener("submit", (e) => e.preventDefault());
  };

  const start = async () => {
    connect();
    for (const figure of data.figures) await draw(figure);
    await showMoment();
    document.body.dataset.ready = "yes";
  };

  window.memhub = { state, shown };
  start().catch((error) => {
    byId("failed").textContent = `The pictures could not be drawn: ${error.message}`;
    byId("failed").hidden = false;
    throw error;
  });
})();
