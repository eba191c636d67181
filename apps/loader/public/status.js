// The status page. It speaks to the service that served it and to nobody else; a token lives in this page's memory only.

const POLL_MS = 5000;
const STEPS = ['authenticating', 'downloading_key', 'decrypting', 'loading_images', 'ready'];
const STATE_NAMES = {
  idle: 'Not started',
  authenticating: 'Logging in',
  downloading_key: 'Getting the key',
  decrypting: 'Decrypting',
  loading_images: 'Loading images',
  ready: 'Ready',
  error: 'Failed',
};
const CHECK_NAMES = {
  'data-directory': 'the data directory',
  'admin-api': 'the Admin API',
  'container-engine': 'the container engine',
};

const element = (id) => document.getElementById(id);
const show = (node, visible) => (node.hidden = !visible);

/** @type {{ token: string, email: string } | undefined} */
let session;
let lastRunningStep;

function bytes(count) {
  const units = ['B', 'KB', 'MB', 'GB', 'TB'];
  let value = count;
  let unit = 0;
  for (; value >= 1000 && unit < units.length - 1; unit += 1) value /= 1000;
  return `${value.toLocaleString('en', { maximumFractionDigits: value < 10 && unit > 0 ? 1 : 0 })} ${units[unit]}`;
}

function duration(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
}

function ago(iso) {
  const seconds = Math.max(0, (Date.now() - Date.parse(iso)) / 1000);
  if (seconds < 60) return 'just now';
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  return new Date(iso).toLocaleString();
}

function node(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className !== undefined) made.className = className;
  return made;
}

async function getJson(path, headers = {}) {
  const response = await fetch(path, { headers, cache: 'no-store' });
  return { ok: response.ok, status: response.status, body: await response.json() };
}

async function post(path, body) {
  const headers = { 'content-type': 'application/json' };
  if (session !== undefined) headers.authorization = `Bearer ${session.token}`;
  const response = await fetch(path, { method: 'POST', headers, body: JSON.stringify(body) });
  const text = await response.text();
  return { ok: response.ok, status: response.status, body: text === '' ? {} : JSON.parse(text) };
}

function showHealth(level, title, text) {
  element('health').dataset.level = level;
  element('health-title').textContent = title;
  element('health-text').textContent = text;
}

function showFacts(facts) {
  element('facts').replaceChildren(...facts.flatMap(([name, value]) => [node('dt', name), node('dd', value)]));
}

async function refreshStatus() {
  const [{ body: status }, { ok: ready, body: probe }] = await Promise.all([
    getJson('/status'),
    getJson('/health/ready'),
  ]);
  const down = Object.keys(probe.error ?? {}).map((name) => CHECK_NAMES[name] ?? name);
  if (ready && status.offline)
    showHealth('warn', 'Offline', 'The Admin API cannot be reached. What is on the device and allowed is served.');
  else if (ready) showHealth('good', 'Everything is ready', 'Requests are served.');
  else showHealth('bad', 'Something is missing', `Not available: ${down.join(', ')}.`);

  element('subtitle').textContent = `Version ${status.version}`;
  element('cache-bytes').textContent = bytes(status.cache.bytes);
  element('cache-limit').textContent = `of ${bytes(status.cache.limitBytes)}`;
  element('cache-meter').value = status.cache.limitBytes === 0 ? 0 : status.cache.bytes / status.cache.limitBytes;
  element('cache-dir').textContent = status.modelCacheDir;
  showFacts([
    ['Admin API', status.offline ? 'out of reach' : 'reachable'],
    ['Keys tied to', status.binding === 'none' ? 'nothing: this is no device' : status.binding],
    ['Logged in', status.authenticated ? 'yes' : 'nobody'],
  ]);
}

function showUnlock(unlock) {
  const { state, progress, error, detail, images, retry } = unlock;
  const running = STEPS.includes(state) && state !== 'ready';
  const pill = element('unlock-state');
  pill.textContent = STATE_NAMES[state] ?? state;
  pill.dataset.level = state === 'ready' ? 'good' : state === 'error' ? 'bad' : running ? 'busy' : 'idle';

  if (running) lastRunningStep = state;
  const at = STEPS.indexOf(state === 'error' ? (lastRunningStep ?? '') : state);
  for (const [index, step] of [...element('unlock-steps').children].entries()) {
    step.dataset.at =
      at < 0 || index > at ? '' : index < at || state === 'ready' ? 'done' : state === 'error' ? 'failed' : 'now';
  }

  show(element('unlock-progress'), progress !== null);
  if (progress !== null) {
    const bar = element('unlock-bar');
    if (progress.bytesTotal === null || progress.bytesTotal === 0) bar.removeAttribute('value');
    else bar.value = progress.bytesDone / progress.bytesTotal;
    element('unlock-bytes').textContent =
      progress.bytesTotal === null
        ? bytes(progress.bytesDone)
        : `${bytes(progress.bytesDone)} of ${bytes(progress.bytesTotal)}`;
    const speed = progress.bytesPerSecond > 0 ? `${bytes(progress.bytesPerSecond)}/s` : '';
    const left = progress.etaSeconds === null ? '' : `${duration(progress.etaSeconds)} left`;
    element('unlock-speed').textContent = [speed, left].filter((part) => part !== '').join(' · ');
  }

  show(element('unlock-error'), error !== null);
  element('unlock-error').textContent = error === null ? '' : `${detail ?? ''} (${error})`;
  show(element('unlock-retry'), retry !== null);
  element('unlock-retry').textContent =
    retry === null
      ? ''
      : `Attempt ${retry.attempts}. The device tries again by itself after ${new Date(retry.notBefore).toLocaleString()}.`;
  element('unlock-images').replaceChildren(
    ...images.map(({ reference, present }) => {
      const item = node('li', reference);
      if (present) item.dataset.present = '';
      item.title = present ? 'loaded' : 'not loaded yet';
      return item;
    }),
  );
  element('unlock-start').textContent = state === 'ready' ? 'Check again' : 'Unlock now';
  element('unlock-start').classList.toggle('primary', state !== 'ready');
  show(element('unlock-start'), !running);
  show(element('unlock-cancel'), running);
}

function rows(list, entries, empty) {
  element(list).replaceChildren(...(entries.length === 0 ? [node('li', empty, 'empty')] : entries));
}

function row(what, small, when) {
  const item = node('li');
  const text = node('span', undefined, 'what');
  text.append(...what, node('small', small));
  item.append(text, node('span', when, 'when'));
  return item;
}

function heldRow({ folder, name, version, kind, totalBytes, presentBytes, complete, leasedUntil }) {
  const size = complete ? bytes(totalBytes) : `${bytes(presentBytes)} of ${bytes(totalBytes)}`;
  const what = `version ${version}, ${kind === 'images' ? 'images, ' : ''}${size}`;
  const pill = node('span', complete ? 'Complete' : presentBytes === 0 ? 'Not fetched yet' : 'Partly here', 'pill');
  pill.dataset.level = complete ? 'good' : 'idle';
  const until = `${complete ? 'opens offline' : 'leased'} until ${new Date(leasedUntil).toLocaleString()}`;
  const item = row([`${folder}/${name}`], `${what}, ${until}`, '');
  item.lastElementChild.append(pill);
  return item;
}

function showSession() {
  show(element('sign-in'), session === undefined);
  show(element('sign-out'), session !== undefined);
  show(element('signed-out'), session === undefined);
  show(element('cache-unleased'), false);
  show(element('unlock-actions'), session !== undefined);
  element('account-name').textContent = session?.email ?? '';
  for (const section of document.querySelectorAll('.signed-in')) show(section, session !== undefined);
}

async function refreshOverview() {
  if (session === undefined) return;
  const asked = session;
  const { ok, status, body } = await getJson('/overview', { authorization: `Bearer ${asked.token}` });
  if (session !== asked) return;
  if (status === 401) {
    session = undefined;
    showSession();
    return;
  }
  if (!ok) throw new Error('no overview');
  if (body.serial !== null)
    element('subtitle').textContent += ` · ${body.serial}${body.deviceLoggedIn ? '' : ' (not logged in)'}`;
  rows(
    'held',
    body.held.map(heldRow),
    body.serial === null ? 'Nothing by name: this is no device, it holds no leases.' : 'Nothing yet.',
  );
  const { packs, bytes: spareBytes } = body.unleased;
  show(element('cache-unleased'), packs > 0);
  element('cache-unleased').textContent =
    `Of that ${bytes(spareBytes)} in ${packs} ${packs === 1 ? 'pack' : 'packs'} without a lease: they open with the Admin API only.`;
  rows(
    'people',
    // One row for everybody, however often they logged in; the newest comes first.
    [...new Map(body.people.toReversed().map((person) => [person.email, person])).values()]
      .toReversed()
      .map(({ email, role, lastSeen }) => row([email], role, ago(lastSeen))),
    'Nobody.',
  );
  rows(
    'resources',
    body.resources.map(({ folder, name, version, times, lastServed }) =>
      row(
        [`${folder}/${name}`],
        `version ${version}, served ${times === 1 ? 'once' : `${times} times`}`,
        ago(lastServed),
      ),
    ),
    'None since the start.',
  );
  rows(
    'failures',
    body.failures.map(({ at, request, code, detail, requestId }) =>
      row([node('code', code), ` ${detail}`], `${request} · request ${requestId}`, ago(at)),
    ),
    'None. All is well.',
  );
}

async function refresh() {
  try {
    await refreshStatus();
    await refreshOverview();
    element('updated').textContent = `as of ${new Date().toLocaleTimeString()}`;
  } catch {
    showHealth('bad', 'The Loader does not answer', 'This page tries again every few seconds.');
  }
}

function followUnlock() {
  const events = new EventSource('/unlock/events');
  events.onmessage = ({ data }) => showUnlock(JSON.parse(data));
}

async function act(path) {
  const { ok, body } = await post(path, {});
  if (ok) return;
  show(element('unlock-error'), true);
  element('unlock-error').textContent = body.detail ?? 'That did not work.';
}

element('sign-in').addEventListener('click', () => element('login').showModal());
element('login-close').addEventListener('click', () => element('login').close());
element('login-form').addEventListener('submit', async (event) => {
  event.preventDefault();
  const email = element('login-email').value;
  const { ok, body } = await post('/login', { email, password: element('login-password').value });
  show(element('login-error'), !ok);
  element('login-error').textContent = ok ? '' : (body.detail ?? 'That did not work.');
  if (!ok) return;
  session = { token: body.access_token, email };
  element('login-form').reset();
  element('login').close();
  showSession();
  await refresh();
});
element('sign-out').addEventListener('click', async () => {
  await post('/logout', {});
  session = undefined;
  showSession();
});
element('unlock-start').addEventListener('click', () => act('/unlock'));
element('unlock-cancel').addEventListener('click', () => act('/unlock/cancel'));

showSession();
followUnlock();
await refresh();
setInterval(refresh, POLL_MS);
