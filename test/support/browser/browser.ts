import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Task } from "./page.ts";

/** A server of one page, whose origin an engine may know. */
export type Site = Disposable & {
  readonly origin: string;
  /** Opens the page in Chromium, which must be installed, and gives what it reports. Fails where the browser ends before. */
  readonly browse: (task: Task) => Promise<unknown>;
};

const bundle = async (): Promise<string> => {
  const { outputs } = await Bun.build({
    entrypoints: [join(import.meta.dir, "page.ts")],
    target: "browser",
  });
  const [script] = outputs;
  if (script === undefined) throw new Error("the page's script came to nothing");
  return script.text();
};

/** Chromium without a window, with a profile of its own; resolves when the page has reported or the browser has ended. */
const visit = async (url: string, reported: Promise<unknown>): Promise<unknown> => {
  const profile = await mkdtemp(join(tmpdir(), "engram-browser-"));
  const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"];
  // The engine's certificate in the tests is signed by nobody.
  flags.push("--no-first-run", "--disable-background-networking", "--ignore-certificate-errors");
  const child = Bun.spawn(["chromium", ...flags, `--user-data-dir=${profile}`, url], {
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
  });
  const words = child.stderr.text();
  const ended = child.exited.then(async (exitCode) => {
    throw new Error(`chromium ended with ${exitCode} before the page had reported: ${await words}`);
  });
  try {
    return await Promise.race([reported, ended]);
  } finally {
    ended.catch(() => {});
    child.kill("SIGKILL");
    await child.exited;
    await rm(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
  }
};

/** Opens a site on a port of its own; the page is made of page.ts with its packages. */
export const openSite = async (): Promise<Site> => {
  const script = await bundle();
  let task: Task | null = null;
  let report = Promise.withResolvers<unknown>();
  const server = Bun.serve({
    port: 0,
    hostname: "localhost",
    routes: {
      "/": new Response('<!doctype html><script type="module" src="/page.js"></script>', {
        headers: { "content-type": "text/html" },
      }),
      "/page.js": new Response(script, { headers: { "content-type": "text/javascript" } }),
      "/task": () => Response.json(task),
      "/report": async (request) => {
        report.resolve(await request.json());
        return new Response();
      },
    },
  });
  return {
    origin: server.url.origin,
    browse: async (given) => {
      task = given;
      report = Promise.withResolvers();
      return visit(server.url.href, report.promise);
    },
    [Symbol.dispose]: () => void server.stop(true),
  };
};
