// End users are hostile input. Their text is inserted only as text (`append`, `textContent`, `value`), never as HTML.

const FIELDS = {
  firstname: "First name",
  lastname: "Last name",
  company: "Company",
  customerType: "Type",
  customerRef: "Reference",
  gender: "Gender",
  lang: "Language",
  country: "Country",
  street: "Street",
  houseNumber: "No.",
  postalCode: "Postal code",
  city: "City",
};
const TEXTS = { otherContactDetails: "Other contact details", aiDocumentation: "Context for the AI" };
const UPSERT_FIELDS = ["firstname", "lastname", "customerRef", "country"];
const OUTCOMES = {
  Created: "Created: no end user held the identifiers.",
  Updated: "Updated: this end user was found and changed.",
  Unchanged: "Unchanged: this end user was found. Nothing was written.",
};
/** The message of each conflict code, and the words between an end user and the identifiers that conflict with it. */
const CONFLICTS = {
  ambiguous_match: ["The identifiers belong to several end users.", "holds"],
  different_reference: ["The end user that was found has a different reference.", "has a reference other than"],
  identifier_taken: ["Another end user holds the identifier.", "holds"],
  later_merge: ["A later merge must be undone first.", "was merged later"],
};
const TITLES = { endUserID: "ID", name: "Name", uid: "UID", ...FIELDS };
const COLUMNS = [
  "endUserID", "name", "uid", "company", "customerType", "customerRef", "country", "city", "postalCode", "street",
  "houseNumber", "lang", "gender", "firstname", "lastname",
];
const LIST_QUERY = ["pageNumber", "pageSize", "sortBy", "sortOrder", "search"];
const TYPING_PAUSE_MS = 150;
const CALLS_KEPT = 50;

const tokens = new Map();
let pasted = "";
let tenant = "";
/** Is aborted when the view changes, so that late responses for the old view are dropped. */
let view = new AbortController();
/** Is aborted when another page of tickets is requested. */
let ticketsPage = new AbortController();
/**
 * The state of the form: the `values` that it was filled with and, for an existing end user, the `path` and `etag`, and
 * `preview`: the `id` of the end user whose merge is previewed, and the button that was its `opener`.
 */
let shown = null;
let lastRoute = null;
/** The notice that the next view shows: texts and nodes. */
let nextNotice = [];
let typing;

const $ = (id) => document.getElementById(id);

function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

// ---- calls

class ApiError extends Error {
  constructor(response, problem) {
    const [conflict, relation] = CONFLICTS[problem?.code] ?? [];
    const message = conflict ? `${conflict} Nothing was written.` : (problem?.detail ?? problem?.title ?? problem?.message);
    super(`${response.status}: ${staleRedirect(response) ?? message ?? "no details"}`);
    this.status = response.status;
    this.errors = problem?.errors ?? {};
    this.conflicts = problem?.conflicts ?? [];
    this.relation = relation;
  }
}

/**
 * Returns the reason of a 412 after a redirect. The browser follows the redirect of a merged end user, and the If-Match
 * of the merged end user does not match the ETag of the survivor.
 */
function staleRedirect({ status, redirected, url }) {
  if (status !== 412 || !redirected) return undefined;
  return `The end user was merged into ${/EndUsers\/(\d+)/.exec(url)[1]} meanwhile. Nothing was written.`;
}

function explain(error, errors = Object.entries(error.errors ?? {})) {
  return [error.message, ...errors.map(([path, messages]) => `${path}: ${messages.join("; ")}`)].join("\n");
}

async function call(method, path, { body, headers, signal } = {}) {
  const begun = performance.now();
  const token = tokens.get(tenant) ?? pasted;
  const type = body === undefined ? {} : { "Content-Type": "application/json" };
  const response = await fetch(path, { method, body, signal, headers: { Authorization: `Bearer ${token}`, ...type, ...headers } });
  const text = await response.text();
  signal?.throwIfAborted();
  logCall(`${method} ${path}`, response, performance.now() - begun);
  const data = text ? JSON.parse(text) : null;
  if (!response.ok) throw new ApiError(response, data);
  return { data, etag: response.headers.get("ETag") };
}

function logCall(request, response, ms) {
  const timing = /dur=([\d.]+);desc="rtt=(\S+) rru=(\S+) wru=(\S+)"/.exec(response.headers.get("Server-Timing") ?? "");
  const [, db = "", rtt = "", rru = "", wru = ""] = timing ?? [];
  const figures = [response.status, ms.toFixed(1), db, rtt, rru, wru].map((figure) => make("td", {}, String(figure)));
  const title = make("th", { scope: "rowgroup", colSpan: figures.length }, request);
  const log = $("calls");
  log.tHead.after(make("tbody", {}, make("tr", {}, title), make("tr", {}, ...figures)));
  if (log.tBodies.length > CALLS_KEPT) log.tBodies[CALLS_KEPT].remove();
}

// ---- routes: the hash of the URL selects the view

function currentRoute() {
  const [path, query] = location.hash.slice(1).split("?");
  return { path: path || "/", query: new URLSearchParams(query) };
}

function link(path, query = {}) {
  const parameters = Object.entries({ tenant, ...query }).filter(([, value]) => value);
  return `#${path}?${new URLSearchParams(parameters)}`;
}

function linkWith(changes) {
  const { path, query } = currentRoute();
  return link(path, { ...Object.fromEntries(query), ...changes });
}

function endUserLink(id, text = `End user ${id}`) {
  return make("a", { href: link(`/end-users/${id}`) }, text);
}

const titleOf = ({ name, endUserID }) => `${name || "(no name)"} #${endUserID}`;

function notify(...content) {
  $("notice").replaceChildren(...content);
}

async function show({ keepEdits = false } = {}) {
  view.abort();
  clearTimeout(typing);
  view = new AbortController();
  const { signal } = view;
  const { path, query } = currentRoute();
  chooseTenant(query.get("tenant"));
  const id = /^\/end-users\/(\d+)$/.exec(path)?.[1];
  const isNewView = lastRoute !== `${tenant} ${path}`;
  const isFirst = lastRoute === null;
  lastRoute = `${tenant} ${path}`;
  $("problem").textContent = "";
  notify(...nextNotice);
  nextNotice = [];
  $("list").hidden = Boolean(id) || ["/new", "/upsert"].includes(path);
  if (isNewView) {
    $("end-user").hidden = $("find-or-create").hidden = true;
    $("assign").reset();
    clearErrors($("assign"));
  }
  try {
    if (tenant === "pasted" && !pasted) throw new Error("Paste a token to begin.");
    if (id) await showEndUser(id, signal, keepEdits);
    else if (path === "/new") showNew();
    else if (path === "/upsert") showUpsert();
    else await showList(query, signal);
  } catch (error) {
    if (signal.aborted) return;
    if (!$("list").hidden) {
      fillRows("end-users", []);
      updateListPager(null, query.get("pageSize"), { totalCount: 0, totalPages: 0 });
    }
    $("problem").textContent = explain(error);
  }
  // The focus moves only if the user is not in a form control.
  const isIdle = document.activeElement.matches("body, a, button");
  if (isNewView && !isFirst && isIdle) document.querySelector("main > section:not([hidden]) h1")?.focus();
}

function chooseTenant(requested) {
  const [first = "pasted"] = tokens.keys();
  tenant = requested === null || tokens.has(requested) ? (requested ?? first) : "pasted";
  $("tenant").value = tenant;
  $("paste").hidden = tenant !== "pasted";
  $("home").href = link("/");
  $("new").href = link("/new");
  $("upsert-link").href = link("/upsert");
}

// ---- the list

async function showList(query, signal) {
  document.title = "End users";
  $("search").value = query.get("search") ?? "";
  const parameters = LIST_QUERY.filter((name) => query.get(name)).map((name) => [name, query.get(name)]);
  const sortBy = query.get("sortBy") || "endUserID";
  const order = query.get("sortOrder") === "desc" ? "descending" : "ascending";
  for (const cell of $("end-users").tHead.rows[0].cells) cell.ariaSort = cell.dataset.field === sortBy ? order : null;
  $("end-users").ariaBusy = "true";
  const list = parameters.length ? `/api/EndUsers?${new URLSearchParams(parameters)}` : "/api/EndUsers";
  const { data } = await call("GET", list, { signal }).finally(() => signal.aborted || ($("end-users").ariaBusy = null));
  fillRows("end-users", data.items.map(endUserRow));
  updateListPager(query.get("pageNumber"), query.get("pageSize"), data);
}

function endUserRow(endUser) {
  const uid = endUser.uids.find(({ isPrimary }) => isPrimary) ?? endUser.uids[0];
  const texts = { ...endUser, uid: uid?.uid };
  const cells = COLUMNS.map((field) => {
    const text = String(texts[field] ?? "");
    if (field === "name") return make("th", { scope: "row", title: text }, endUserLink(endUser.endUserID, endUser.name || "(no name)"));
    return make("td", { title: text, className: field === "endUserID" ? "number" : "" }, text);
  });
  return make("tr", {}, ...cells);
}

function fillRows(table, rows) {
  $(table).tBodies[0].replaceChildren(...rows);
}

function sortBy(field) {
  const { query } = currentRoute();
  const isReversed = (query.get("sortBy") || "endUserID") === field && query.get("sortOrder") !== "desc";
  changeList({ sortBy: field, sortOrder: isReversed ? "desc" : "asc", pageNumber: "" });
}

/** Shows another page or order of the list, for the current text of the search field. */
function changeList(changes) {
  const search = $("search").value;
  const isNewSearch = search !== (currentRoute().query.get("search") ?? "");
  location.hash = linkWith({ ...changes, search, ...(isNewSearch && { pageNumber: "" }) });
}

function searchNow() {
  history.replaceState(null, "", linkWith({ search: $("search").value, pageNumber: "" }));
  show();
}

/** Adds the controls to a pager. Returns a function that shows the current page, the page size and the totals. */
function pager(nav, [one, many], change) {
  nav.append($("pages").content.cloneNode(true));
  const control = (name) => nav.querySelector(`[name=${name}]`);
  let [page, last] = [1, 1];
  nav.addEventListener("click", ({ target }) => {
    const to = { first: 1, previous: Math.min(page - 1, last), next: page + 1, last }[target.name];
    if (to && target.ariaDisabled !== "true") change({ pageNumber: to });
  });
  control("number").addEventListener("change", ({ target }) => change({ pageNumber: target.value }));
  control("size").addEventListener("change", ({ target }) => change({ pageNumber: "", pageSize: target.value }));
  return (number, size, { totalCount, totalPages }) => {
    [page, last] = [Number(number) || 1, Math.max(totalPages, 1)];
    control("number").value = page;
    control("size").value = size || 10;
    nav.querySelector("span").textContent = `of ${last}`;
    nav.querySelector("output").textContent = `${totalCount.toLocaleString("en")} ${totalCount === 1 ? one : many}`;
    // `disabled` would remove the focus from the button.
    for (const name of ["first", "previous"]) control(name).ariaDisabled = String(page <= 1);
    for (const name of ["next", "last"]) control(name).ariaDisabled = String(page >= last);
  };
}

// ---- one end user

async function showEndUser(id, signal, keepEdits) {
  const path = `/api/EndUsers/${id}`;
  const [{ data: endUser, etag }, ...rest] = await Promise.all(
    ["", "/duplicates", "/merges", "/tickets"].map((part) => call("GET", `${path}${part}`, { signal })),
  );
  if (endUser.endUserID !== Number(id)) return showSurvivor(id, endUser.endUserID);
  const [duplicates, merges, tickets] = rest.map(({ data }) => data);
  fillProfile(endUser, keepEdits);
  shown = { ...shown, path, etag };
  fillRows("uids", endUser.uids.map(uidRow));
  fillDuplicates(duplicates);
  fillMerges(merges);
  fillTickets(tickets);
  showForm(titleOf(endUser), false);
}

/** Goes to the end user that a merged one is part of. */
function showSurvivor(id, survivorID) {
  nextNotice = [`End user ${id} was merged into ${survivorID}.`];
  location.replace(link(`/end-users/${survivorID}`));
}

function showNew() {
  $("profile").reset();
  fillProfile({ customerType: "Lead" }, false);
  showForm("New end user", true);
}

function showForm(title, isNew) {
  document.title = title;
  $("name").textContent = title;
  $("linked").hidden = $("delete").hidden = isNew;
  $("first-uid").hidden = $("first-uid").disabled = !isNew;
  $("end-user").hidden = false;
}

function profileControls() {
  return [...Object.keys(FIELDS), ...Object.keys(TEXTS)].map((name) => $("profile").elements.namedItem(name));
}

/** Fills the form. With `keepEdits`, an edit is kept unless the stored value of its field has changed. */
function fillProfile(endUser, keepEdits) {
  const [was, values] = [keepEdits ? shown.values : {}, {}];
  for (const control of profileControls()) {
    const edit = control.value;
    control.value = endUser[control.name] ?? "";
    // A control may change the text that it is given, for example its line breaks.
    values[control.name] = control.value;
    if (edit !== was[control.name] && values[control.name] === was[control.name]) control.value = edit;
  }
  clearErrors($("profile"));
  shown = { values };
}

/** Returns the edited fields only, because a control may have changed the text of the others. */
function edits() {
  const edited = profileControls().filter((control) => control.value !== shown.values[control.name]);
  return Object.fromEntries(edited.map((control) => [control.name, control.value]));
}

function uidRow({ endUserUIDID, uidType, uid, isPrimary }) {
  const remove = make("button", { type: "button", ariaLabel: `Remove ${uid}` }, "Remove");
  remove.addEventListener("click", () => attempt($("assign"), () => removeUid(endUserUIDID)));
  const cells = [uidType, uid, isPrimary ? "yes" : "", String(endUserUIDID), remove];
  return make("tr", {}, ...cells.map((cell) => make("td", {}, cell)));
}

function time(timestamp) {
  return make("time", { dateTime: timestamp }, timestamp.slice(0, 16).replace("T", " "));
}

function ticketRow(ticket) {
  const { ticketID, subject, status, channelType, uid, topics } = ticket;
  const cells = [String(ticketID), subject ?? "", status ?? "", channelType ?? "", uid, time(ticket.lastMessageDate), topics.join(", ")];
  return make("tr", {}, ...cells.map((cell) => make("td", {}, cell)));
}

function fillTickets(tickets, { pageNumber, pageSize } = {}) {
  fillRows("tickets", tickets.items.map(ticketRow));
  updateTicketsPager(pageNumber, pageSize, tickets);
}

/** Loads another page of tickets. It is not a route, because a route would load the end user again. */
async function pageOfTickets(change) {
  ticketsPage.abort();
  ticketsPage = new AbortController();
  const signal = AbortSignal.any([view.signal, ticketsPage.signal]);
  const pageSize = change.pageSize ?? document.querySelector("#linked [name=size]").value;
  const query = { pageNumber: change.pageNumber || 1, pageSize };
  try {
    const { data } = await call("GET", `${shown.path}/tickets?${new URLSearchParams(query)}`, { signal });
    fillTickets(data, query);
  } catch (error) {
    if (!signal.aborted) $("problem").textContent = explain(error);
  }
}

// ---- writing

/** Sends the request of a form, one at a time. Shows its result unless the user has left the view. */
async function attempt(form, send) {
  const [startView, focused] = [view, document.activeElement];
  const enable = (enabled) => document.querySelectorAll("main button").forEach((button) => (button.disabled = !enabled));
  enable(false);
  clearErrors(form);
  notify();
  try {
    const showResult = await send();
    if (startView === view) await showResult();
  } catch (error) {
    if (startView === view) showErrors(form, error);
  }
  enable(true);
  if (document.activeElement === document.body) (focused.checkVisibility() ? focused : $("name")).focus();
}

function clearErrors(form) {
  form.querySelectorAll(".error").forEach((message) => message.remove());
  form.querySelectorAll("[aria-invalid]").forEach((control) => {
    control.ariaInvalid = null;
    control.removeAttribute("aria-describedby");
  });
  form.querySelector(".errors").textContent = "";
}

/** Returns the control of a path in the request. The control of a single UID is named without the list. */
function controlAt(form, path) {
  return form.elements.namedItem(path) ?? form.elements.namedItem(path.replace("uids[0].", ""));
}

function showErrors(form, error) {
  const rest = [];
  for (const [path, messages] of Object.entries(error.errors ?? {})) {
    const control = controlAt(form, path);
    if (control) markError(form, control, messages.join("; "));
    else rest.push([path, messages]);
  }
  const message = form.querySelector(".errors");
  message.textContent = explain(error, rest);
  for (const conflict of error.conflicts ?? []) message.append("\n", ...conflictLine(form, error.relation, conflict));
  if ([404, 412].includes(error.status)) message.append("\n", reloadButton());
  form.querySelector("[aria-invalid]")?.focus();
}

/** Returns a link to an end user that a request conflicts with, and the reason. */
function conflictLine(form, relation, { endUserID, fields }) {
  const values = fields.map((path) => controlAt(form, path)?.value ?? path);
  return [endUserLink(endUserID), ` ${relation} ${values.join(" and ")}`];
}

function reloadButton() {
  const button = make("button", { type: "button" }, "Load the current version");
  button.addEventListener("click", async () => {
    await show();
    $("name").focus();
  });
  return button;
}

function markError(form, control, text) {
  const id = `${form.id}-${control.name}-error`;
  control.closest("label").after(make("span", { className: "error", id }, text));
  control.ariaInvalid = "true";
  control.setAttribute("aria-describedby", id);
}

const pendingPosts = new WeakMap();

/** POSTs the content of a form. A retry with the same content, after a lost response, has the same idempotency key. */
async function postIdempotently(form, path, content, headers) {
  const body = JSON.stringify(content);
  const request = `${path} ${body}`;
  if (pendingPosts.get(form)?.request !== request) pendingPosts.set(form, { request, key: crypto.randomUUID() });
  const result = await call("POST", path, { body, headers: { "Idempotency-Key": pendingPosts.get(form).key, ...headers } });
  pendingPosts.delete(form);
  return result;
}

function uidOf(form) {
  const { uidType, uid, isPrimary } = form.elements;
  return { uidType: uidType.value, uid: uid.value, isPrimary: isPrimary.checked };
}

async function create() {
  const uid = uidOf($("profile"));
  const { data } = await postIdempotently($("profile"), "/api/EndUsers", { ...edits(), uids: uid.uid ? [uid] : [] });
  return () => {
    nextNotice = ["Created."];
    location.replace(link(`/end-users/${data.endUserID}`));
  };
}

async function update(content, message) {
  const { path, etag, values } = shown;
  await call("PUT", path, { body: JSON.stringify(content), headers: { "If-Match": etag } });
  // The written values are the baseline of later edits.
  Object.assign(values, content);
  return () => reload(message);
}

const removeUid = (endUserUIDID) => update({ uids: [{ endUserUIDID, markAsDeleted: true }] }, "Removed.");

function reload(...notice) {
  nextNotice = notice;
  return show({ keepEdits: true });
}

async function remove() {
  await call("DELETE", shown.path, { headers: { "If-Match": shown.etag } });
  return () => {
    nextNotice = ["Deleted."];
    location.replace(link("/"));
  };
}

async function assign() {
  const endUserID = Number(shown.path.split("/").pop());
  const { data } = await postIdempotently($("assign"), "/api/EndUserUIDs/assign", { ...uidOf($("assign")), endUserID });
  return () => {
    $("assign").reset();
    return reload(data.message ?? "Linked.");
  };
}

// ---- find or create

function showUpsert() {
  document.title = "Find or create";
  $("find-or-create").hidden = false;
}

/** Returns the body of an upsert. Without any identifier, the first one is sent empty, so that the error marks its field. */
function upsertContent() {
  const value = (name) => $("upsert").elements.namedItem(name).value;
  const fields = UPSERT_FIELDS.filter(value).map((name) => [name, value(name)]);
  const uids = [0, 1].map((n) => ({ uidType: value(`uids[${n}].uidType`), uid: value(`uids[${n}].uid`) }));
  const count = Math.max(uids.findLastIndex(({ uid }) => uid) + 1, value("customerRef") ? 0 : 1);
  return { ...Object.fromEntries(fields), uids: uids.slice(0, count), onMatch: value("onMatch") };
}

async function upsert() {
  const { data } = await postIdempotently($("upsert"), "/api/EndUsers/upsert", upsertContent());
  return () => {
    nextNotice = [OUTCOMES[data.outcome]];
    location.hash = link(`/end-users/${data.endUser.endUserID}`);
  };
}

// ---- duplicates and merges

function fillDuplicates(duplicates) {
  clearErrors($("merge"));
  pendingPosts.delete($("merge"));
  $("preview").hidden = true;
  $("duplicates-section").hidden = !duplicates.length;
  fillRows("duplicates", duplicates.map(duplicateRow));
}

function duplicateRow({ endUser, sharedUids }) {
  const title = titleOf(endUser);
  const preview = make("button", { type: "button", ariaLabel: `Preview merge of ${title}` }, "Preview merge");
  preview.addEventListener("click", () => attempt($("merge"), () => previewMerge(endUser, preview)));
  const cells = [endUserLink(endUser.endUserID, title), sharedUids.join(", "), preview];
  return make("tr", {}, ...cells.map((cell) => make("td", {}, cell)));
}

async function previewMerge(other, opener) {
  const body = JSON.stringify({ endUserID: other.endUserID, dryRun: true });
  const { data } = await call("POST", `${shown.path}/merge`, { body, headers: { "If-Match": shown.etag } });
  return () => {
    shown.preview = { id: data.mergedEndUserID, opener };
    $("preview-title").textContent = `Merge ${titleOf(other)} into ${titleOf(data.endUser)}`;
    $("preview-undo").replaceChildren("The merge can be undone until ", time(data.undoUntil), ".");
    fillRows("changes", changesOf(data, other).map(changeRow));
    $("preview").hidden = false;
    $("preview-title").focus();
  };
}

/** Returns what a merge changes: the kind of the change, the field or type, and the value. */
function changesOf({ endUser, filledFields, discardedFields, movedUids, droppedUids, movedCustomerRef }, other) {
  const uid = (id) => {
    const found = other.uids.find(({ endUserUIDID }) => endUserUIDID === id);
    return [found?.uidType ?? "UID", found?.uid ?? `#${id}`];
  };
  const title = (name) => FIELDS[name] ?? TEXTS[name] ?? name;
  return [
    ...filledFields.map((name) => ["Filled", title(name), endUser[name]]),
    ...Object.entries(discardedFields).map(([name, value]) => ["Discarded", title(name), `${value} (${endUser[name]} stays)`]),
    ...(movedCustomerRef ? [["Becomes a UID", FIELDS.customerRef, movedCustomerRef]] : []),
    ...movedUids.map((id) => ["Moved", ...uid(id)]),
    ...droppedUids.map((id) => ["Dropped, already held", ...uid(id)]),
  ];
}

function changeRow([change, ...cells]) {
  return make("tr", {}, make("th", { scope: "row" }, change), ...cells.map((cell) => make("td", {}, cell)));
}

function cancelMerge() {
  $("preview").hidden = true;
  shown.preview.opener.focus();
}

async function merge() {
  const { path, etag, preview } = shown;
  await postIdempotently($("merge"), `${path}/merge`, { endUserID: preview.id }, { "If-Match": etag });
  return () => reload(`End user ${preview.id} was merged into this one.`);
}

function fillMerges(merges) {
  clearErrors($("undo"));
  pendingPosts.delete($("undo"));
  $("merges-section").hidden = !merges.length;
  fillRows("merges", merges.map(mergeRow));
}

function mergeRow({ endUserID, dateMerged, undoUntil }) {
  const undo = make("button", { type: "button", ariaLabel: `Undo the merge of end user ${endUserID}` }, "Undo");
  undo.addEventListener("click", () => attempt($("undo"), () => unmerge(endUserID)));
  const cells = [`#${endUserID}`, time(dateMerged), time(undoUntil), undo];
  return make("tr", {}, ...cells.map((cell) => make("td", {}, cell)));
}

async function unmerge(id) {
  const { data } = await postIdempotently($("undo"), `/api/EndUsers/${id}/unmerge`);
  return () => reload("The merge was undone: ", endUserLink(id, titleOf(data.endUser)), " is an end user of its own again.");
}

// ---- the page

function buildColumns() {
  const cells = COLUMNS.map((field) => {
    if (field === "uid") return make("th", { scope: "col" }, TITLES.uid);
    const button = make("button", { type: "button" }, TITLES[field]);
    button.addEventListener("click", () => sortBy(field));
    const cell = make("th", { scope: "col" }, button);
    cell.dataset.field = field;
    return cell;
  });
  $("end-users").tHead.rows[0].append(...cells);
}

function buildFields() {
  const types = ["Lead", "Customer", "Partner"].map((type) => make("option", {}, type));
  const control = (name) => (name === "customerType" ? make("select", { name }, ...types) : make("input", { name, autocomplete: "off" }));
  const field = (title, node) => make("div", {}, make("label", {}, `${title} `, node));
  const inputs = Object.entries(FIELDS).map(([name, title]) => field(title, control(name)));
  const areas = Object.entries(TEXTS).map(([name, title]) => field(title, make("textarea", { name, rows: 2 })));
  const [short, long] = $("profile").querySelectorAll(".fields");
  short.append(...inputs);
  long.append(...areas);
  $("upsert").querySelector(".fields").append(...UPSERT_FIELDS.map((name) => field(FIELDS[name], control(name))));
}

async function fetchTokens() {
  const response = await fetch("/local/tokens");
  for (const { tenant, token } of response.ok ? await response.json() : []) tokens.set(String(tenant), token);
  const options = [...tokens.keys()].map((tenant) => make("option", { value: tenant }, tenant));
  $("tenant").append(...options, make("option", { value: "pasted" }, "pasted token"));
}

function onSubmit(form, submit) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
}

buildColumns();
buildFields();
const updateListPager = pager($("list").querySelector(".pager"), ["end user", "end users"], changeList);
const updateTicketsPager = pager($("linked").querySelector(".pager"), ["ticket", "tickets"], pageOfTickets);
onSubmit($("find"), searchNow);
onSubmit($("profile"), () => attempt($("profile"), () => (shown.path ? update(edits(), "Saved.") : create())));
onSubmit($("assign"), () => attempt($("assign"), assign));
onSubmit($("upsert"), () => attempt($("upsert"), upsert));
onSubmit($("merge"), () => attempt($("merge"), merge));
$("cancel").addEventListener("click", cancelMerge);
$("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(searchNow, TYPING_PAUSE_MS);
});
$("delete").addEventListener("click", () => {
  if (confirm(`Delete ${$("name").textContent}?`)) attempt($("profile"), remove);
});
$("tenant").addEventListener("change", ({ target }) => {
  $("upsert").reset();
  clearErrors($("upsert"));
  location.hash = link("/", { tenant: target.value });
});
$("pasted").addEventListener("change", ({ target }) => {
  pasted = target.value.trim();
  show();
});
addEventListener("hashchange", () => show());
await fetchTokens();
show();
