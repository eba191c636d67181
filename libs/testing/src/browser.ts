import type { Page } from 'playwright-core';

import { findProgram } from './components.js';

/** What makes Chromium run without a display, as root, and without calls to its maker. */
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** A page that watches itself. */
export interface WatchedPage {
  readonly page: Page;
  /** Addresses outside of the page's own origin that it asked for. */
  readonly foreignRequests: readonly string[];
  /** Errors of scripts, and what the content security policy refused. */
  readonly errors: readonly string[];
  close(): Promise<void>;
}

/** A real browser. Stop it in the end. */
export interface TestBrowser {
  /** Opens an address in a session of its own. @param size - Of the window, in CSS pixels. */
  open(url: string, size?: { readonly width: number; readonly height: number }, dark?: boolean): Promise<WatchedPage>;
  stop(): Promise<void>;
}

/** Starts the browser of this machine: ask for the component `browser` first. */
export async function startBrowser(): Promise<TestBrowser> {
  const executablePath = findProgram('chromium');
  if (executablePath === undefined) throw new Error('chromium is not installed.');
  // Large, and of use to few suites.
  const { chromium } = await import('playwright-core');
  const browser = await chromium.launch({ executablePath, args: FLAGS });
  return {
    open: async (url, size = { width: 1280, height: 900 }, dark = false) => {
      const context = await browser.newContext({ viewport: size, colorScheme: dark ? 'dark' : 'light' });
      const page = await context.newPage();
      const foreignRequests: string[] = [];
      const errors: string[] = [];
      page.on('request', (request) => {
        if (!request.url().startsWith(`${new URL(url).origin}/`) && !request.url().startsWith('data:'))
          foreignRequests.push(request.url());
      });
      page.on('pageerror', (error) => errors.push(error.message));
      page.on('console', (message) => {
        // That an answer was not a success is the page's business, and shown by it.
        if (message.type() === 'error' && !message.text().startsWith('Failed to load resource'))
          errors.push(message.text());
      });
      await page.goto(url);
      return { page, foreignRequests, errors, close: () => context.close() };
    },
    stop: () => browser.close(),
  };
}
