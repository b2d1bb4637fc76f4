// Makes the pages quicker and livelier. Everything works without it: pages are links and plain forms.

const main = () => document.getElementById('main');

// Shows the page in `response` in place of the current one, without a reload.
async function show(response, push) {
  const type = response.headers.get('content-type') || '';
  if (!type.startsWith('text/html')) {
    location.assign(response.url);
    return;
  }
  const page = new DOMParser().parseFromString(await response.text(), 'text/html');
  // The result of a form that changed nothing, such as a preview, cannot be requested again: the address stays.
  const isAction = new URL(response.url).pathname.startsWith('/actions/');
  const address = new URL(isAction ? location.href : response.url);
  document.title = page.title;
  for (const part of ['header.bar', 'main']) {
    document.querySelector(part).replaceWith(document.adoptNode(page.querySelector(part)));
  }
  for (const old of document.querySelectorAll('body > .banner')) old.remove();
  const banner = page.querySelector('body > .banner');
  if (banner) main().before(document.adoptNode(banner));
  address.searchParams.delete('notice');
  if (push) {
    if (!isAction) history.pushState(null, '', address);
    scrollTo(0, 0);
    main().focus({ preventScroll: true });
  } else {
    history.replaceState(null, '', address);
  }
  prepare();
}

async function visit(url, push) {
  document.body.setAttribute('aria-busy', 'true');
  try {
    await show(await fetch(url), push);
  } catch {
    location.assign(url);
  } finally {
    document.body.removeAttribute('aria-busy');
  }
}

// Whether the browser's own behaviour is wanted: another tab, a download, a place on this page.
function isOrdinary(event, link) {
  const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
  const here = link.pathname === location.pathname && link.search === location.search && link.hash;
  return plain && !link.target && !link.hasAttribute('download') && link.origin === location.origin && !here &&
    !link.pathname.startsWith('/login/') && !link.pathname.startsWith('/api/') && !link.pathname.startsWith('/raw/');
}

document.addEventListener('click', (event) => {
  const copy = event.target.closest('[data-copy]');
  if (copy) {
    copyText(copy);
    return;
  }
  const link = event.target.closest('a[href]');
  if (link && !event.defaultPrevented && isOrdinary(event, link)) {
    event.preventDefault();
    visit(link.href, true);
  }
});

document.addEventListener('submit', async (event) => {
  const form = event.target;
  const button = event.submitter;
  const question = button?.dataset.confirm || form.dataset.confirm;
  if (question && !confirm(question)) {
    event.preventDefault();
    return;
  }
  // `formAction` is the address of the page if the button has none.
  const action = new URL(button?.hasAttribute('formaction') ? button.formAction : form.action);
  if (action.origin !== location.origin) return;
  event.preventDefault();
  const fields = new URLSearchParams(new FormData(form, button));
  if (form.method === 'get') {
    action.search = fields;
    visit(action, true);
    return;
  }
  if (button) button.disabled = true;
  document.body.setAttribute('aria-busy', 'true');
  try {
    await show(await fetch(action, { method: 'POST', body: fields }), true);
  } catch {
    if (button) button.disabled = false;
    alert('The registry does not answer. Try again.');
  } finally {
    document.body.removeAttribute('aria-busy');
  }
});

addEventListener('popstate', () => visit(location.href, false));

// `navigator.clipboard` exists only over TLS and on localhost. Elsewhere the text is selected, to be copied by hand.
async function copyText(button) {
  const source = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.textContent.trim());
    say(button, 'Copied');
  } catch {
    getSelection().selectAllChildren(source);
    say(button, document.execCommand('copy') ? 'Copied' : 'Press Ctrl+C');
  }
}

function say(button, text) {
  const usual = button.textContent;
  button.textContent = text;
  setTimeout(() => { button.textContent = usual; }, 1500);
}

document.addEventListener('keydown', (event) => {
  const isTyping = event.target.closest?.('input, textarea, select, [contenteditable]');
  if (event.key === '/' && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    document.getElementById('search')?.focus();
  }
});

// Boxes that check all others of their table.
document.addEventListener('change', (event) => {
  if (!event.target.matches('[data-all]')) return;
  for (const box of event.target.closest('table').querySelectorAll('tbody input[type=checkbox]')) {
    box.checked = event.target.checked;
  }
});

// One stream of events for the visible page. The parts of the page with `data-live` are replaced when something changes.
let events = null;
let isDue = false;

function listen() {
  const wanted = !document.hidden && document.querySelector('[data-live]') && main();
  if (!wanted && events) {
    events.close();
    events = null;
  } else if (wanted && !events) {
    events = new EventSource('/live');
    events.addEventListener('change', refreshSoon);
  }
}

function refreshSoon() {
  if (isDue) return;
  isDue = true;
  setTimeout(refresh, 500);
}

async function refresh() {
  isDue = false;
  // The header says that no person asked: the session is not used.
  const response = await fetch(location.href, { headers: { 'Orlop-Refresh': '1' } }).catch(() => null);
  if (!response?.ok) return;
  const page = new DOMParser().parseFromString(await response.text(), 'text/html');
  for (const part of document.querySelectorAll('[data-live]')) {
    const fresh = page.getElementById(part.id);
    const isInUse = part.contains(document.activeElement) || part.querySelector('input:checked');
    if (fresh && !isInUse) part.replaceWith(document.adoptNode(fresh));
  }
  prepare();
}

document.addEventListener('visibilitychange', () => {
  listen();
  if (events) refreshSoon();
});
addEventListener('pagehide', () => {
  events?.close();
  events = null;
});
addEventListener('pageshow', listen);

// Shows what only works with this script.
function prepare() {
  for (const part of document.querySelectorAll('[data-script][hidden]')) part.hidden = false;
  listen();
}

prepare();
