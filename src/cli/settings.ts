import { isIP } from "node:net";
import { parseArgs } from "node:util";
import type { ToolLimits } from "../agent/event.ts";
import { isJsonObject, type JsonObject } from "../agent/json.ts";
import { EngramError, messageOf } from "../errors.ts";
import { redisLimits, toolCeilings } from "../limits.ts";
import type { LogLevel } from "../log.ts";
import { isOpenWay, readModelKey } from "./model-key.ts";
import { readRedisUrl, type RedisPlace } from "../store/redis/address.ts";

/** Agents on a Redis, which any number of engines share. */
export type RedisSettings = {
  readonly place: RedisPlace;
  readonly prefix: string;
  /** PEM file of the authority that signs the servers' certificates; null: the system's. */
  readonly caPath: string | null;
  readonly replicas: number;
};

export type Settings = {
  /** null: agents are kept in the SQLite files. */
  readonly redis: RedisSettings | null;
  readonly dbPath: string;
  readonly acceptDataLoss: boolean;
  readonly host: string;
  readonly port: number;
  readonly apiKeys: readonly string[];
  readonly tls: { readonly certPath: string; readonly keyPath: string } | null;
  readonly corsOrigins: readonly string[];
  readonly toolsPath: string;
  readonly toolLimits: ToolLimits;
  readonly llmProvider: "ollama" | "openai" | "scripted";
  readonly ollamaUrl: string;
  readonly llmBaseUrl: string;
  /** null: none is sent. */
  readonly llmApiKey: string | null;
  readonly llmTimeoutMs: number;
  readonly llmOptions: JsonObject;
  readonly concurrency: number;
  readonly leaseTtlMs: number;
  readonly heartbeatMs: number;
  readonly logLevel: LogLevel;
  readonly logFormat: "text" | "json";
  /** What the operator should know of the settings themselves. */
  readonly warnings: readonly string[];
};

/** Every setting with its default and what it means; each is an environment variable and, as `--lower-case`, a flag. */
export const settingsTable = [
  ["STORE_TYPE", "sqlite", "where agents are kept: sqlite, or redis, which engines can share"],
  ["DB_PATH", "./data", "folder of the SQLite files, and of prepared tools"],
  ["ACCEPT_DATA_LOSS", "", "1: start although the store has lost commits, with what is there"],
  [
    "REDIS_URL",
    "localhost:6379",
    "host:port, redis:// or rediss://; several, comma-separated: a Cluster",
  ],
  ["REDIS_KEY_PREFIX", "engram:", "what the names of all keys in Redis begin with"],
  ["REDIS_CA", "", "PEM file of the authority behind rediss://"],
  ["REDIS_WAIT_REPLICAS", "0", "replicas that must have a write before it is acknowledged"],
  ["GRPC_PORT", "50051", "the one port, for every protocol"],
  ["HOST", "127.0.0.1", "address to listen on; beyond loopback it needs API_KEY"],
  ["ALLOW_ANONYMOUS", "", "1: listen beyond loopback without API_KEY"],
  ["API_KEY", "", "keys that clients must send one of, comma-separated; commands send the first"],
  ["TLS_CERT", "", "PEM file; with TLS_KEY the port speaks TLS; SIGHUP reads both again"],
  ["TLS_KEY", "", "PEM file"],
  ["CORS_ORIGINS", "", "browser origins allowed, comma-separated"],
  ["TOOLS_PATH", "./tools", "folder of the WASM tools"],
  ["TOOL_FUEL", "1000000000", "fuel of a tool call, about one unit an instruction"],
  ["TOOL_MEMORY_MB", "64", "linear memory of a tool call"],
  ["TOOL_TIMEOUT_MS", "10000", "wall time of a tool call"],
  ["TOOL_OUTPUT_KB", "256", "output of a tool call"],
  [
    "LLM_PROVIDER",
    "ollama",
    "ollama; openai: any server of that API; scripted: built in, offline, deterministic",
  ],
  ["OLLAMA_URL", "http://localhost:11434", "the Ollama server"],
  ["LLM_BASE_URL", "https://api.openai.com/v1", "the server, with LLM_PROVIDER=openai"],
  ["LLM_API_KEY", "", "the key that this server wants"],
  ["LLM_TIMEOUT_MS", "120000", "silence of the model after which a call is tried again"],
  ["LLM_OPTIONS", "", "JSON object merged into the model server's options"],
  ["WORKER_CONCURRENCY", "64", "steps at once; 0: serve the API only"],
  ["LEASE_TTL_MS", "10000", "after which a dead engine's agents are taken over"],
  ["HEARTBEAT_MS", "15000", "silence of a stream after which a heartbeat is sent"],
  ["URL", "http://localhost:50051", "the engine that a command is a client of"],
  ["LOG_LEVEL", "info", "debug, info, warn or error"],
  ["LOG_FORMAT", "", "text or json; text on a terminal, else json"],
] as const;

type Name = (typeof settingsTable)[number][0];

/** Flags without a value, which stand for 1. */
const switches: ReadonlySet<string> = new Set(["ACCEPT_DATA_LOSS", "ALLOW_ANONYMOUS"]);

const flagOf = (name: Name): string => name.toLowerCase().replaceAll("_", "-");

type Environment = Readonly<Record<string, string | undefined>>;

/** The settings of the environment, with the command line's flags over them. Fails with invalid_argument, naming the setting. */
export function readSettings(
  args: readonly string[],
  env: Environment,
  isTerminal: boolean,
): Settings {
  const { words, text } = readCommandLine(args, env);
  if (words[0] !== undefined)
    throw new EngramError(
      "invalid_argument",
      `${JSON.stringify(words[0])} is one word too many; see engram --help`,
    );
  const host = text("HOST");
  const apiKeys = apiKeysOf(text("API_KEY"));
  mustBeSafe(host, apiKeys, switchOf("ALLOW_ANONYMOUS", text("ALLOW_ANONYMOUS")));
  const warnings: string[] = [];
  if (storeTypeOf(text) === "badger") warnings.push("STORE_TYPE=badger is taken as sqlite");
  const provider = choice("LLM_PROVIDER", text("LLM_PROVIDER"), ["ollama", "openai", "scripted"]);
  const llmApiKey = readModelKey(text("LLM_API_KEY"));
  if (provider === "openai" && llmApiKey !== null && isOpenWay(text("LLM_BASE_URL")))
    warnings.push("LLM_API_KEY can be read on its way to LLM_BASE_URL: use https");
  const number = (name: Name, min: number, max: number): number =>
    numberOf(name, text(name), { min, max });
  return {
    ...toolSettingsOf(text),
    acceptDataLoss: switchOf("ACCEPT_DATA_LOSS", text("ACCEPT_DATA_LOSS")),
    redis: redisSettingsOf(text),
    host,
    port: number("GRPC_PORT", 0, 65_535),
    apiKeys,
    tls: tlsOf(text("TLS_CERT"), text("TLS_KEY")),
    corsOrigins: listOf(text("CORS_ORIGINS")).map(originOf),
    llmProvider: provider,
    ollamaUrl: text("OLLAMA_URL"),
    llmBaseUrl: text("LLM_BASE_URL"),
    llmApiKey,
    llmTimeoutMs: number("LLM_TIMEOUT_MS", 1, 24 * 3600_000),
    llmOptions: objectOf("LLM_OPTIONS", text("LLM_OPTIONS")),
    concurrency: number("WORKER_CONCURRENCY", 0, 10_000),
    leaseTtlMs: number("LEASE_TTL_MS", 100, 3600_000),
    heartbeatMs: number("HEARTBEAT_MS", 10, 24 * 3600_000),
    logLevel: choice("LOG_LEVEL", text("LOG_LEVEL"), ["debug", "info", "warn", "error"]),
    logFormat: logFormatOf(text, isTerminal),
    warnings,
  };
}

const logFormatOf = (text: Texts, isTerminal: boolean): "text" | "json" =>
  choice("LOG_FORMAT", text("LOG_FORMAT") || (isTerminal ? "text" : "json"), ["text", "json"]);

const storeTypeOf = (text: Texts): "sqlite" | "badger" | "redis" =>
  choice("STORE_TYPE", text("STORE_TYPE"), ["sqlite", "badger", "redis"]);

/** null: agents are not kept there. */
function redisSettingsOf(text: Texts): RedisSettings | null {
  if (storeTypeOf(text) !== "redis") return null;
  const prefix = text("REDIS_KEY_PREFIX");
  // Braces say to a Cluster which keys stand together.
  if (!/^[^{}\s]*$/.test(prefix) || prefix.length > redisLimits.keyPrefixCharsMax)
    throw bad(
      "REDIS_KEY_PREFIX",
      prefix,
      `it must be at most ${redisLimits.keyPrefixCharsMax} characters without braces and blanks`,
    );
  const replicas = text("REDIS_WAIT_REPLICAS");
  return {
    place: readRedisUrl(text("REDIS_URL")),
    prefix,
    caPath: text("REDIS_CA") || null,
    replicas: numberOf("REDIS_WAIT_REPLICAS", replicas, { min: 0, max: redisLimits.replicasMax }),
  };
}

/** What of the settings a command heeds that works with tools alone. */
export type ToolSettings = Pick<Settings, "dbPath" | "toolsPath" | "toolLimits">;

/**
 * The words of a command line that are no flags, in order, and the settings for tools; all others' flags are known, and
 * not looked at. Fails with invalid_argument, naming the setting.
 */
export function readToolSettings(
  args: readonly string[],
  env: Environment,
): { readonly words: readonly string[]; readonly settings: ToolSettings } {
  const { words, text } = readCommandLine(args, env);
  return { words, settings: toolSettingsOf(text) };
}

/** Where a command that reads the store finds it. */
export type StoreSettings = Pick<Settings, "dbPath" | "redis">;

/** The words of a command line that are no flags, in order, and where the store is; other flags are known, and not looked at. */
export function readStoreSettings(
  args: readonly string[],
  env: Environment,
): { readonly words: readonly string[]; readonly settings: StoreSettings } {
  const { words, text } = readCommandLine(args, env);
  return { words, settings: { dbPath: text("DB_PATH"), redis: redisSettingsOf(text) } };
}

/** Where a client's command finds its engine, and with which key; null: without one. */
export type ClientSettings = { readonly url: string; readonly apiKey: string | null };

/** Flags that one command alone has, without their dashes; a boolean one has no value. */
type OwnFlags = Readonly<Record<string, "string" | "boolean">>;

export type ClientLine = {
  /** What is no flag, in order. */
  readonly words: readonly string[];
  readonly settings: ClientSettings;
  /** The value of a flag of the command's own, of a boolean one "1"; null: it is not there. */
  flag(name: string): string | null;
};

/** The command line of a client's command. Fails with invalid_argument, naming the setting. */
export function readClientSettings(
  args: readonly string[],
  env: Environment,
  own: OwnFlags = {},
): ClientLine {
  const { words, text, flags } = readCommandLine(args, env, own);
  const flag = (name: string): string | null => {
    const value = flags[name];
    if (typeof value === "string") return value;
    return value === true ? "1" : null;
  };
  return { words, settings: clientSettingsOf(text), flag };
}

/** The same of a command that prints a log, and how it is to look. */
export function readPrinterSettings(
  args: readonly string[],
  env: Environment,
  isTerminal: boolean,
): {
  readonly words: readonly string[];
  readonly settings: ClientSettings & Pick<Settings, "logFormat">;
} {
  const { words, text } = readCommandLine(args, env);
  const logFormat = logFormatOf(text, isTerminal);
  return { words, settings: { ...clientSettingsOf(text), logFormat } };
}

function clientSettingsOf(text: Texts): ClientSettings {
  const url = text("URL");
  // What is said of the engine names it.
  if (url.includes("@"))
    throw new EngramError("invalid_argument", "URL holds a name or a password: say API_KEY");
  if (!/^https?:\/\/[^/?#]+\/?$/.test(url) || !URL.canParse(url))
    throw bad("URL", url, "it must be http:// or https://, a host and a port");
  const [apiKey] = apiKeysOf(text("API_KEY"));
  return { url, apiKey: apiKey ?? null };
}

function toolSettingsOf(text: Texts): ToolSettings {
  const number = (name: Name, max: number): number => numberOf(name, text(name), { min: 1, max });
  return {
    dbPath: text("DB_PATH"),
    toolsPath: text("TOOLS_PATH"),
    toolLimits: {
      fuel: number("TOOL_FUEL", toolCeilings.fuel),
      memoryBytes: number("TOOL_MEMORY_MB", toolCeilings.memoryBytes / 2 ** 20) * 2 ** 20,
      timeoutMs: number("TOOL_TIMEOUT_MS", toolCeilings.timeoutMs),
      outputBytesMax: number("TOOL_OUTPUT_KB", toolCeilings.outputBytesMax / 1024) * 1024,
    },
  };
}

/** The value of a setting as it was given, or its default. */
type Texts = (name: Name) => string;

/** An empty variable is one that is not set. */
function readCommandLine(
  args: readonly string[],
  env: Environment,
  own: OwnFlags = {},
): Parsed & { readonly text: Texts } {
  const { words, flags } = parse(args, own);
  const defaults = new Map<string, string>(settingsTable.map(([name, value]) => [name, value]));
  const text: Texts = (name) => {
    const flag = flags[flagOf(name)];
    // Who writes --api-key "$KEY" means to have one.
    if (flag === "" && name === "API_KEY") throw bad(name, flag, noKey);
    if (typeof flag === "string") return flag;
    if (flag === true) return "1";
    return env[name] || (defaults.get(name) ?? "");
  };
  return { words, flags, text };
}

type Parsed = {
  readonly words: readonly string[];
  readonly flags: Readonly<Record<string, unknown>>;
};

function parse(args: readonly string[], own: OwnFlags): Parsed {
  const options = Object.fromEntries(
    settingsTable.map(([name]) => [
      flagOf(name),
      { type: switches.has(name) ? ("boolean" as const) : ("string" as const) },
    ]),
  );
  for (const [name, type] of Object.entries(own)) options[name] = { type };
  try {
    const parsed = parseArgs({ args: [...args], options, strict: true, allowPositionals: true });
    return { words: parsed.positionals, flags: parsed.values };
  } catch (cause) {
    // Some of the parser's complaints have more than one line.
    const complaint = messageOf(cause).replaceAll(/\s*\n\s*/g, " ");
    throw new EngramError("invalid_argument", `${complaint}; see engram --help`, { cause });
  }
}

const bad = (name: Name, value: string, wanted: string): EngramError =>
  new EngramError("invalid_argument", `${name} is ${JSON.stringify(value)}: ${wanted}`);

function numberOf(
  name: Name,
  value: string,
  { min, max }: { readonly min: number; readonly max: number },
): number {
  const number = /^\d{1,15}$/.test(value) ? Number(value) : Number.NaN;
  if (number >= min && number <= max) return number;
  throw bad(name, value, `it must be a whole number from ${min} to ${max}`);
}

function choice<T extends string>(name: Name, value: string, words: readonly T[]): T {
  const word = words.find((one) => one === value);
  if (word === undefined) throw bad(name, value, `it must be one of ${words.join(", ")}`);
  return word;
}

/** Whether a setting that is 1 or nothing is 1. */
function switchOf(name: Name, value: string): boolean {
  if (value === "" || value === "1") return value === "1";
  throw bad(name, value, "it must be 1, or be left out");
}

const noKey = "it holds no key; name one, or leave it out";

function apiKeysOf(value: string): readonly string[] {
  const keys = listOf(value);
  if (value !== "" && keys.length === 0) throw bad("API_KEY", value, noKey);
  return keys;
}

/** A page's origin as its browser sends it. Of other schemes than the web's no more than the form is known. */
function originOf(value: string): string {
  const origin = value.replace(/\/$/, "").toLowerCase();
  if (origin === "*") return origin;
  if (!/^[a-z][a-z0-9+.-]*:\/\/[^/?#@\s]+$/.test(origin) || !URL.canParse(origin))
    throw bad(
      "CORS_ORIGINS",
      value,
      "it must be * or origins, such as https://app.example.com:8443",
    );
  const { origin: sent } = new URL(origin);
  if (sent === origin || !/^https?:/.test(origin)) return origin;
  throw bad("CORS_ORIGINS", value, `a browser sends it as ${sent}`);
}

function objectOf(name: Name, value: string): JsonObject {
  if (value === "") return {};
  let parsed: unknown;
  try {
    parsed = JSON.parse(value);
  } catch {
    throw bad(name, value, "it must be a JSON object");
  }
  if (isJsonObject(parsed)) return parsed;
  throw bad(name, value, "it must be a JSON object");
}

const listOf = (value: string): readonly string[] =>
  value
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "");

function tlsOf(certPath: string, keyPath: string): Settings["tls"] {
  if (certPath === "" && keyPath === "") return null;
  if (certPath === "") throw bad("TLS_CERT", "", "TLS_KEY needs it");
  if (keyPath === "") throw bad("TLS_KEY", "", "TLS_CERT needs it");
  return { certPath, keyPath };
}

function mustBeSafe(host: string, apiKeys: readonly string[], allowAnonymous: boolean): void {
  // What looks like an address is no name.
  const isAddress = isIP(host) !== 0;
  if (host === "" || (!isAddress && /^[\d.]+$|:/.test(host)))
    throw bad("HOST", host, "it must be an address or a name of this machine");
  const loopback = host === "localhost" || host === "::1" || (isAddress && host.startsWith("127."));
  if (loopback || apiKeys.length > 0 || allowAnonymous) return;
  throw bad(
    "HOST",
    host,
    "an address beyond loopback needs API_KEY, or ALLOW_ANONYMOUS=1 to let anyone in",
  );
}
