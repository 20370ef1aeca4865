"use strict";

const REFRESH_MS = 5000;
const SHOWN_EVENTS = 12;
const shown = new Set();

const element = (id) => document.getElementById(id);

async function load(path) {
  const response = await fetch(path, { headers: { Accept: "application/json" } });
  if (!response.ok) {
    throw new Error(response.status === 401 ? "login needed" : `answered ${response.status}`);
  }
  return response.json();
}

function line(title, detail) {
  const item = document.createElement("li");
  const note = document.createElement("span");
  note.textContent = detail;
  item.append(title, note);
  return item;
}

async function showHealth(id, path) {
  const card = element(id);
  const state = card.querySelector(".state");
  let text;
  let good = false;
  try {
    const health = await load(path);
    good = ["ok", "healthy"].includes(String(health.status).toLowerCase());
    text = `${health.status}${health.version ? `, version ${health.version}` : ""}`;
  } catch (error) {
    text = error.message;
  }
  state.textContent = text;
  card.classList.toggle("good", good);
  card.classList.toggle("bad", !good);
}

async function showList(id, countId, path, key, describe) {
  let entries;
  try {
    const found = await load(path);
    entries = key ? found[key] : found;
  } catch {
    return; // the health cards tell what is wrong
  }
  element(countId).textContent = entries.length;
  if (entries.length) {
    element(id).replaceChildren(...entries.map((entry) => line(...describe(entry))));
  }
}

function refresh() {
  showHealth("api", "/api/health");
  showHealth("dotnet", "/elsa-api/health");
  showList("engines", "engine-count", "/api/engines", "engines", (engine) => [
    `${engine.owner}/${engine.repo}`,
    `${engine.state}, version ${engine.version}, ${engine.id}`,
  ]);
  showList("workflows", "workflow-count", "/api/workflows/definitions", null, (workflow) => [
    workflow.name,
    `version ${workflow.version}`,
  ]);
}

function describeEvent(event) {
  switch (event.type) {
    case "engine.registered": return ["Engine registered", event.id];
    case "engine.left": return ["Engine left", event.id];
    case "workflows.synced": return ["Workflow definitions received", String(event.count)];
    case "github.webhook": return ["GitHub webhook", event.event];
    default: return ["Message", String(event.message ?? "")];
  }
}

function showEvent(message) {
  const event = JSON.parse(message.data);
  const key = message.lastEventId + event.time;
  if (shown.has(key)) {
    return; // the server repeats the latest events on every new connection
  }
  shown.add(key);
  const item = line(...describeEvent(event));
  const moment = document.createElement("time");
  moment.dateTime = event.time;
  moment.textContent = new Date(event.time).toLocaleTimeString();
  item.prepend(moment);
  const list = element("events");
  list.querySelector(".empty")?.remove();
  list.prepend(item);
  while (list.children.length > SHOWN_EVENTS) {
    list.lastChild.remove();
  }
  refresh();
}

function listen() {
  const live = element("live");
  const source = new EventSource("/api/events");
  const say = (text, good) => {
    live.textContent = text;
    live.classList.toggle("good", good);
    live.classList.toggle("bad", !good);
  };
  source.onopen = () => say("live", true);
  source.onerror = () => say("reconnecting", false);
  for (const type of ["engine.registered", "engine.left", "workflows.synced", "github.webhook", "message"]) {
    source.addEventListener(type, showEvent);
  }
}

load("/version.json").then(
  ({ version }) => { element("version").textContent = version; },
  () => {},
);
refresh();
setInterval(refresh, REFRESH_MS);
listen();
