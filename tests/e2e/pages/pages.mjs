// pages.mjs MODE URL: uses the pages as people do. The modes differ in what the browser can do and in how it reaches the
// registry; all of them do every flow.

import { PHONE, SCREEN, Visitor, failures, launch, step } from './browser.mjs';
import { everyPage, pathsOf } from './paths.mjs';
import { flows } from './flows.mjs';
import { api, pushScratch } from './registry.mjs';

const [mode, base] = process.argv.slice(2);
const { ADMIN, PUSHER, READER, PAGES_SHOTS } = process.env;
const browser = await launch('MAP nas 127.0.0.1, MAP registry.test 127.0.0.1');
const options = { javaScriptEnabled: mode !== 'plain' };
const open = (name, more = {}) => Visitor.open(browser, base, name, { ...options, ...more });

/** Signs in, works, and closes the window, which fails if anything appeared on the console. */
async function as(name, password, work, more) {
  const visitor = await open(name, more);
  if (password) await visitor.signIn(name, password);
  await work(visitor);
  await visitor.close();
}

async function looksRight() {
  const paths = await pathsOf(base, ADMIN);
  for (const colorScheme of ['light', 'dark']) {
    for (const viewport of [SCREEN, PHONE]) {
      await step(`every page, ${colorScheme}, ${viewport.width} pixels wide`, () =>
        as('admin', ADMIN, async (visitor) => {
          for (const [name, path] of everyPage(paths)) {
            await visitor.go(path);
            if (PAGES_SHOTS) await visitor.screenshot(PAGES_SHOTS, `${name}-${viewport.width}-${colorScheme}`);
            await step(`${name} fits and is accessible`, async () => {
              await visitor.fits();
              if (viewport === SCREEN) await visitor.isAccessible();
              if (viewport === SCREEN && colorScheme === 'light') await visitor.isUsableByKeyboard();
            });
          }
        }, { colorScheme, viewport }));
    }
  }
}

async function visitorsSeeTheirs() {
  const paths = await pathsOf(base, ADMIN);
  await step('an anonymous visitor sees the sign-in page', () =>
    as('anonymous', null, async (visitor) => {
      await visitor.go('/');
      await visitor.page.getByRole('heading', { name: 'Sign in' }).waitFor();
      for (const [, path] of everyPage(paths)) {
        if (path === '/') continue;
        await visitor.go(path);
        if (!visitor.page.url().includes('/sign-in')) throw new Error(`${path} is shown without a session`);
        await visitor.seesNothingOf('team/frontend');
      }
    }));
  await step('a reader sees what they may pull, and no buttons', () =>
    as('reader', READER, async (visitor) => {
      await visitor.go('/');
      await visitor.sees('team/frontend/web');
      for (const path of ['/', '/repositories', '/search?q=a', '/activity', '/r/team/frontend/web']) {
        await visitor.go(path);
        for (const secret of ['library/nginx', 'team/backend', 'tools/ci']) await visitor.seesNothingOf(secret);
      }
      await visitor.go('/r/team/frontend/web');
      if (await visitor.page.getByRole('button', { name: 'Delete selected' }).count()) throw new Error('may delete');
      for (const path of ['/r/library/nginx', '/r/library/nginx:latest', '/r/does/not-exist']) await visitor.go(path, 403);
      await visitor.go('/activity/audit', 403);
      await visitor.go('/people', 403);
    }));
  await step('a pusher adds a tag', () =>
    as('pusher', PUSHER, async (visitor) => {
      await visitor.go('/r/team/frontend/web:2026.11.1');
      await visitor.page.getByLabel('Add a tag to this manifest').fill(`by-pusher-${mode}`);
      await visitor.press('Add the tag');
      await visitor.sees(`by-pusher-${mode}`);
      if (await visitor.page.getByRole('button', { name: 'Delete the tag' }).count()) throw new Error('may delete');
    }));
}

/** Does as if another tab hid the page: without windows, the browser shows all of its pages. */
async function setHidden(page, isHidden) {
  await page.evaluate((value) => {
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => value });
    document.dispatchEvent(new Event('visibilitychange'));
  }, isHidden);
}

async function pagesAreLive() {
  await step('a push shows on an open page within two seconds', () =>
    as('admin', ADMIN, async (visitor) => {
      await visitor.go('/');
      await visitor.page.waitForTimeout(1500);
      const tag = `live-${Date.now()}`;
      await api(base, 'admin', ADMIN).copyTag('library/nginx', 'latest', tag);
      const pushed = Date.now();
      await visitor.page.getByText(`library/nginx:${tag}`).waitFor();
      const took = Date.now() - pushed;
      if (took > 2000) throw new Error(`after ${took} ms`);
    }));
  await step('a hidden page closes its stream, and opens it again when it is shown', () =>
    as('admin', ADMIN, async (visitor) => {
      const { page } = visitor;
      const isLive = (request) => new URL(request.url()).pathname === '/live';
      const opened = page.waitForRequest(isLive);
      await visitor.go('/');
      await opened;
      const closed = page.waitForEvent('requestfailed', isLive);
      await setHidden(page, true);
      await closed;
      const openedAgain = page.waitForRequest(isLive);
      await setHidden(page, false);
      await openedAgain;
    }));
  await step('the keyboard reaches the search', () =>
    as('admin', ADMIN, async (visitor) => {
      await visitor.go('/trash');
      await visitor.page.keyboard.press('/');
      await visitor.page.keyboard.type('backend');
      await visitor.page.keyboard.press('Enter');
      await visitor.page.waitForURL('**/search?q=backend');
      await visitor.sees('team/backend/api');
    }));
}

try {
  await pushScratch(base, ADMIN, mode);
  await visitorsSeeTheirs();
  for (const [name, flow] of Object.entries(flows)) {
    await step(name, () => as('admin', ADMIN, (visitor) => flow(visitor, { mode, base, ADMIN })));
  }
  if (mode === 'script') {
    await pagesAreLive();
    await looksRight();
  }
} finally {
  await browser.close();
}
if (failures.length) {
  console.log(`failed: ${failures.join('; ')}`);
  process.exitCode = 1;
}
