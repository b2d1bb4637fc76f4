// A real browser for the end-to-end runs of the pages: Debian's Chromium, driven by playwright-core.
//
// Every page that a run visits is checked: nothing may appear on the console, no error may be thrown, and the
// Content-Security-Policy must not block anything.

import { createRequire } from 'node:module';
import { mkdirSync, readFileSync } from 'node:fs';

const modules = createRequire(`${process.env.E2E_NODE}/node_modules/`);
const { chromium } = modules('playwright-core');
const axeSource = readFileSync(modules.resolve('axe-core/axe.min.js'), 'utf8');

export const PHONE = { width: 390, height: 844 };
export const SCREEN = { width: 1280, height: 900 };

/** Starts the browser. `hosts` maps names to this machine, such as `MAP nas 127.0.0.1`. */
export async function launch(hosts) {
  const args = ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'];
  if (hosts) args.push(`--host-resolver-rules=${hosts}`);
  return chromium.launch({ executablePath: '/usr/bin/chromium', args });
}

/** A browser window of one visitor. */
export class Visitor {
  /** Opens a window. `options` are those of a browser context. */
  static async open(browser, base, name, options = {}) {
    const context = await browser.newContext({ baseURL: base, viewport: SCREEN, ignoreHTTPSErrors: true, ...options });
    context.setDefaultTimeout(10_000);
    const page = await context.newPage();
    return new Visitor(context, page, name, options.javaScriptEnabled !== false);
  }

  constructor(context, page, name, hasScript) {
    this.context = context;
    this.page = page;
    this.name = name;
    this.hasScript = hasScript;
    this.complaints = [];
    /** Statuses of pages that a step expects; the console mentions them. */
    this.expected = new Set();
    page.on('console', (message) => {
      if (!['error', 'warning'].includes(message.type())) return;
      const status = /status of (\d+)/.exec(message.text())?.[1];
      if (status && this.expected.has(Number(status))) return;
      this.complaints.push(`${page.url()}: ${message.type()}: ${message.text()}`);
    });
    page.on('pageerror', (error) => this.complaints.push(`${page.url()}: ${error}`));
    // With the script, a question is a dialog.
    page.on('dialog', (dialog) => dialog.accept());
  }

  /** Visits a path, which must answer with `status`. */
  async go(path, status = 200) {
    this.expected.add(status);
    const response = await this.page.goto(path);
    if (response.status() !== status) throw new Error(`${path}: ${response.status()} instead of ${status}`);
    return response;
  }

  /** Presses a button or follows a link, and waits for the page that follows. */
  async press(target, expectedPath) {
    const locator = typeof target === 'string' ? this.page.getByRole('button', { name: target, exact: true }) : target;
    await locator.first().click();
    if (expectedPath) await this.page.waitForURL((url) => `${url.pathname}${url.search}`.startsWith(expectedPath));
    await this.page.waitForLoadState();
    await this.page.waitForFunction(() => !document.body.hasAttribute('aria-busy')).catch(() => {});
  }

  /** The text must be on the page. */
  async sees(text) {
    await this.page.getByText(text).first().waitFor({ state: 'attached' }).catch(async () => {
      throw new Error(`${this.name} does not see ${text} on ${this.page.url()}`);
    });
  }

  /** The text must not be anywhere in the page. */
  async seesNothingOf(text) {
    const content = await this.page.content();
    if (content.includes(text)) throw new Error(`${this.name} sees ${text} on ${this.page.url()}`);
  }

  async signIn(name, password) {
    await this.go('/sign-in');
    await this.page.getByLabel('Name').fill(name);
    await this.page.getByLabel('Password').fill(password);
    await this.press('Sign in', '/');
    await this.sees(name);
  }

  /** Nothing may overflow the window to the right. */
  async fits() {
    const wide = await this.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    if (wide > 0) throw new Error(`${this.page.url()} is ${wide} pixels wider than the window`);
  }

  /** Checks the page for what people with a screen reader or a keyboard can't use. */
  async isAccessible() {
    const session = await this.context.newCDPSession(this.page);
    // Through the debugger, because the policy of the page forbids scripts of others.
    await session.send('Runtime.evaluate', { expression: axeSource });
    const { result, exceptionDetails } = await session.send('Runtime.evaluate', {
      expression: `axe.run().then((found) => JSON.stringify(found.violations.map((violation) =>
        violation.id + ': ' + violation.nodes.map((node) => node.html + ' ' + node.failureSummary).join(' | '))))`,
      awaitPromise: true,
      returnByValue: true,
    });
    await session.detach();
    if (exceptionDetails) throw new Error(`axe: ${exceptionDetails.text}`);
    const violations = JSON.parse(result.value);
    if (violations.length) throw new Error(`${this.page.url()} as ${this.name}:\n${violations.join('\n')}`);
  }

  /** Walks through the page with the Tab key, which must reach every control and show where it is. */
  async isUsableByKeyboard() {
    const { page } = this;
    const count = await page.evaluate(() => {
      const controls = document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex="0"]');
      const isRight = (one) => one.tabIndex >= 0 && !one.disabled && one.checkVisibility() && one.type !== 'hidden';
      // Of the radio buttons of a group, Tab reaches the checked one.
      const isOther = (one) => one.type === 'radio' && !one.checked;
      window.controls = [...controls].filter((one) => isRight(one) && !isOther(one));
      document.activeElement.blur();
      return window.controls.length;
    });
    const reached = new Set();
    let last = null;
    // The parts of a date are reached one after the other, and the browser shows where.
    for (let press = 0; press <= 4 * count; press += 1) {
      await page.keyboard.press('Tab');
      const found = await page.evaluate(() => {
        const one = document.activeElement;
        const { outlineStyle, outlineWidth } = getComputedStyle(one);
        const { top, bottom, left, right } = one.getBoundingClientRect();
        const isInWindow = bottom > 0 && right > 0 && top < innerHeight && left < innerWidth;
        const isShown = outlineStyle !== 'none' && parseFloat(outlineWidth) > 0 && isInWindow;
        return { at: window.controls.indexOf(one), html: one.outerHTML.slice(0, 200), isShown, isBody: one === document.body };
      });
      if (found.isBody || (reached.has(found.at) && found.at !== last)) break;
      if (!found.isShown && found.at !== last) throw new Error(`${page.url()}: nothing shows that the keyboard is at ${found.html}`);
      last = found.at;
      reached.add(found.at);
    }
    const missed = await page.evaluate((seen) => window.controls.filter((_, at) => !seen.includes(at)).map((one) => one.outerHTML.slice(0, 200)), [...reached]);
    if (missed.length) throw new Error(`${page.url()}: the keyboard does not reach ${missed.join(' | ')}`);
  }

  async screenshot(folder, name) {
    mkdirSync(folder, { recursive: true });
    await this.page.screenshot({ path: `${folder}/${name}.png`, fullPage: true });
  }

  /** Ends the visit. Nothing may have appeared on the console. */
  async close() {
    await this.context.close();
    if (this.complaints.length) throw new Error(`${this.name}:\n${this.complaints.join('\n')}`);
  }
}

/** The steps that failed. The run goes on after a failure, to show all of them. */
export const failures = [];

/** Does a step of a run, and records whether it fails. */
export async function step(text, work) {
  const start = Date.now();
  try {
    await work();
    console.log(`    ${text} (${Date.now() - start} ms)`);
  } catch (error) {
    failures.push(text);
    console.log(`    FAILED: ${text}: ${error.stack.slice(0, 3000)}`);
  }
}
