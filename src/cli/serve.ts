import { join } from "node:path";
import { version } from "../../package.json" with { type: "json" };
import { adminRoutes } from "../api/admin.ts";
import { agentRoutes } from "../api/service.ts";
import { systemClock } from "../clock.ts";
import { startEngine } from "../engine/engine.ts";
import { messageOf } from "../errors.ts";
import { cliLimits } from "./cli-limits.ts";
import type { Model } from "../llm/model.ts";
import { openOllama } from "../llm/ollama/ollama.ts";
import { openScripted } from "../llm/scripted/scripted.ts";
import type { Log } from "../log.ts";
import { makeMetrics } from "../metrics/metrics.ts";
import { openSandbox, type WasmSandbox } from "../sandbox/wasm-sandbox.ts";
import { openServer, type Server } from "../server/server.ts";
import { nameOf } from "../store/redis/address.ts";
import { openSqliteStore } from "../store/sqlite/sqlite.ts";
import { startThread } from "../store/sqlite/worker.ts";
import type { Store } from "../store/store.ts";
import { readCa } from "./ca.ts";
import { makeLog } from "./log.ts";
import { childCommand } from "./self.ts";
import { readSettings, type Settings } from "./settings.ts";

/**
 * `engram serve`: runs the engine until SIGTERM or SIGINT, then stops taking work, hands over what is under way and
 * resolves with the exit code; a second signal ends the process at once. Fails where it cannot start.
 */
export async function serve(args: readonly string[]): Promise<number> {
  const stopped = onSignal();
  const settings = readSettings(args, process.env, process.stderr.isTTY);
  const log = makeLog(settings.logLevel, settings.logFormat);
  for (const warning of settings.warnings) log("warn", warning);
  const worker = `${process.pid}-${crypto.randomUUID()}`;
  const { store, warnings } = await openStore(settings, worker, log);
  const opened: (() => Promise<void>)[] = [() => store.close()];
  try {
    const sandbox = await openTools(settings, log);
    opened.unshift(() => sandbox.close());
    for (const warning of await sandbox.warnings()) log("warn", warning);
    const { drain, url } = await start(settings, { store, warnings, worker, sandbox, log }, opened);
    const { redis, dbPath, toolsPath } = settings;
    const place = redis === null ? dbPath : redis.place.addresses.map(nameOf).join(",");
    log("info", "engram is ready", { url, store: place, tools: toolsPath });
    const signal = await stopped;
    log("info", "stopping", { signal });
    await drain();
    return 0;
  } finally {
    for (const close of opened) await close();
  }
}

/** Resolves with the first signal's name; the second ends the process as the signal would have. */
function onSignal(): Promise<string> {
  return new Promise((resolve) => {
    let asked = false;
    for (const name of ["SIGTERM", "SIGINT"] as const)
      process.on(name, () => {
        if (asked) process.exit(name === "SIGTERM" ? 143 : 130);
        asked = true;
        resolve(name);
      });
  });
}

type Parts = OpenedStore & {
  /** Names this process to the others that share its store. */
  readonly worker: string;
  readonly sandbox: WasmSandbox;
  readonly log: Log;
};

type OpenedStore = { readonly store: Store; readonly warnings: () => Promise<readonly string[]> };

async function openStore(
  { dbPath, acceptDataLoss, redis }: Settings,
  worker: string,
  log: Log,
): Promise<OpenedStore> {
  const clock = systemClock;
  if (redis === null) {
    const store = openSqliteStore(dbPath, { clock, log, startThread, acceptDataLoss });
    return { store, warnings: async () => [] };
  }
  const { caPath, ...options } = redis;
  // The client is loaded where it is needed.
  const { openRedisStore } = await import("../store/redis/redis.ts");
  const store = await openRedisStore({ ...options, ca: await readCa(caPath), worker, clock, log });
  return { store, warnings: store.warnings };
}

const openTools = (settings: Settings, log: Log): Promise<WasmSandbox> =>
  openSandbox({
    toolsPath: settings.toolsPath,
    cacheDir: join(settings.dbPath, "tools-cache"),
    childCommand,
    clock: systemClock,
    defaults: settings.toolLimits,
    log,
  });

async function openModel(settings: Settings, log: Log): Promise<Model> {
  const server = {
    timeoutMs: settings.llmTimeoutMs,
    options: settings.llmOptions,
    clock: systemClock,
    log: (line: string) => log("warn", line),
  };
  switch (settings.llmProvider) {
    case "scripted":
      return openScripted({ clock: systemClock });
    case "ollama":
      return openOllama({ ...server, url: settings.ollamaUrl });
    case "openai": {
      // The client is loaded where it is needed.
      const { openOpenAi } = await import("../llm/openai/openai.ts");
      return openOpenAi({ ...server, url: settings.llmBaseUrl, apiKey: settings.llmApiKey });
    }
  }
}

async function start(
  settings: Settings,
  { warnings, worker, ...opening }: Parts,
  opened: (() => Promise<void>)[],
): Promise<{ readonly url: string; drain(): Promise<void> }> {
  const { log, sandbox } = opening;
  const clock = systemClock;
  const metrics = makeMetrics(version, clock);
  const store = metrics.store(opening.store);
  const engine = startEngine(
    {
      store,
      sandbox,
      log,
      model: metrics.model(await openModel(settings, log)),
      clock,
      settings: { concurrency: settings.concurrency, leaseTtlMs: settings.leaseTtlMs },
    },
    worker,
  );
  const { host, port, tls, apiKeys, corsOrigins, heartbeatMs } = settings;
  try {
    const server = await openServer({
      host,
      port,
      tls,
      apiKeys,
      corsOrigins,
      routes: (router) => {
        agentRoutes({ engine, clock, heartbeatMs })(router);
        adminRoutes(engine)(router);
      },
      ready: engine.unreadiness,
      warnings: async () =>
        (await Promise.all([warnings(), sandbox.warnings(), engine.differences()])).flat(),
      metrics: () =>
        metrics.scrape(store, () => ({ steps: engine.steps(), tools: sandbox.load() })),
      watch: metrics.port,
      clock,
      log,
    });
    opened.unshift(() => server.close());
    if (tls !== null) process.on("SIGHUP", () => void renewTls(server, log));
    return {
      url: server.url,
      drain: async () => {
        await Promise.all([engine.drain(), server.drain(cliLimits.drainMs)]);
      },
    };
  } catch (error) {
    await engine.drain().catch((fault: unknown) => log("warn", messageOf(fault)));
    throw error;
  }
}

async function renewTls(server: Server, log: Log): Promise<void> {
  try {
    await server.renewTls();
    log("info", "TLS_CERT and TLS_KEY were read again");
  } catch (error) {
    log("error", "the TLS files stay as they were", { reason: messageOf(error) });
  }
}
