import { describe, expect, test } from "bun:test";
import {
  type Settings,
  readClientSettings,
  readSettings,
  settingsTable,
} from "../../src/cli/settings.ts";

const settings = (env: Readonly<Record<string, string>>, ...args: readonly string[]): Settings =>
  readSettings(args, env, false);

/** A refusal is one line that names the setting, and so exit code 2. */
const refusal = (name: string, why: string) =>
  expect.objectContaining({
    code: "invalid_argument",
    message: expect.stringMatching(new RegExp(`^${name} is [^\\n]*${why}[^\\n]*$`)),
  });

const refused = (read: () => unknown): unknown => {
  try {
    return { taken: read() };
  } catch (error) {
    return error;
  }
};

describe("a bad value is refused", () => {
  const bad: readonly (readonly [name: string, value: string, why: string])[] = [
    ["API_KEY", ",", "no key"],
    ["API_KEY", " , ,", "no key"],
    ["CORS_ORIGINS", "garbage", "origins"],
    ["CORS_ORIGINS", "https://a.com,b.com", "origins"],
    ["CORS_ORIGINS", "https://a.com/path", "origins"],
    ["CORS_ORIGINS", "https://user@a.com", "origins"],
    ["CORS_ORIGINS", "https://a.com:https", "origins"],
    ["CORS_ORIGINS", "https://a.com:443", "sends it as https://a.com$"],
    ["ALLOW_ANONYMOUS", "yes", "must be 1, or be left out"],
    ["ALLOW_ANONYMOUS", "0", "must be 1, or be left out"],
    ["ACCEPT_DATA_LOSS", "yes", "must be 1, or be left out"],
    ["HOST", "127.0.0.999", "an address"],
    ["HOST", "127.1.1", "an address"],
    ["HOST", "[::1]", "an address"],
    ["HOST", "0.0.0.0", "ALLOW_ANONYMOUS=1"],
    ["HOST", "example.com", "ALLOW_ANONYMOUS=1"],
  ];
  for (const [name, value, why] of bad)
    test(`${name}=${value}`, () => {
      expect(refused(() => settings({ [name]: value }))).toEqual(refusal(name, why));
    });
});

test("what is well set is taken", () => {
  expect(settings({ API_KEY: " one,,two " }).apiKeys).toEqual(["one", "two"]);
  expect(settings({ API_KEY: "" }).apiKeys).toEqual([]);
  expect(settings({ CORS_ORIGINS: "*" }).corsOrigins).toEqual(["*"]);
  expect(
    settings({ CORS_ORIGINS: "https://A.com/,http://localhost:3000,tauri://localhost" })
      .corsOrigins,
  ).toEqual(["https://a.com", "http://localhost:3000", "tauri://localhost"]);
  for (const host of ["localhost", "127.0.0.1", "127.9.9.9", "::1"])
    expect(settings({ HOST: host }).host).toBe(host);
  expect(settings({ HOST: "engine.example.com", API_KEY: "one" }).host).toBe("engine.example.com");
});

test("a switch needs no value as a flag, and 1 in the environment", () => {
  expect(settings({ HOST: "0.0.0.0" }, "--allow-anonymous").host).toBe("0.0.0.0");
  expect(settings({ HOST: "0.0.0.0", ALLOW_ANONYMOUS: "1" }).host).toBe("0.0.0.0");
  expect(settings({}, "--accept-data-loss").acceptDataLoss).toBe(true);
  expect(settings({ ACCEPT_DATA_LOSS: "1" }).acceptDataLoss).toBe(true);
  expect(settings({}).acceptDataLoss).toBe(false);
});

test("a key that is asked for on the command line is there, for the engine and its clients", () => {
  const env = { API_KEY: "one" };
  expect(refused(() => settings(env, "--api-key", ""))).toEqual(refusal("API_KEY", "no key"));
  expect(refused(() => readClientSettings([], { API_KEY: "," }))).toEqual(
    refusal("API_KEY", "no key"),
  );
  expect(settings(env, "--api-key", "two").apiKeys).toEqual(["two"]);
});

test("a model server's key that can be read on its way is warned of", () => {
  const warnings = (LLM_BASE_URL: string, LLM_PROVIDER = "openai") =>
    settings({ LLM_BASE_URL, LLM_PROVIDER, LLM_API_KEY: "k" }).warnings;
  for (const url of ["http://models.example/v1", "http://10.0.0.7:8000/v1"])
    expect(warnings(url)).toEqual([expect.stringContaining("LLM_API_KEY")]);
  for (const url of ["https://a.b", "http://localhost/v1", "http://127.0.0.1:8", "http://[::1]:8"])
    expect(warnings(url)).toEqual([]);
  expect(settings({ LLM_BASE_URL: "http://models.example/v1" }).warnings).toEqual([]);
  // It is sent nowhere.
  expect(warnings("http://models.example/v1", "ollama")).toEqual([]);
});

test("a model server's key that cannot be sent is refused without being shown", () => {
  for (const key of ["sk-one sk-two", "sk-one\nsk-two", "sk-ä", " "]) {
    const error = refused(() => settings({ LLM_API_KEY: key }));
    expect(error).toMatchObject({ code: "invalid_argument" });
    expect(String(error)).toContain("LLM_API_KEY");
    expect(String(error)).not.toContain("sk-");
  }
});

test("an engine's address with a password in it is refused without being shown", () => {
  for (const url of ["http://me:secret@localhost:1", "https://me:secret@a/b", "me:secret@a"]) {
    const error = refused(() => readClientSettings(["--url", url], {}));
    expect(error).toMatchObject({ code: "invalid_argument" });
    expect(String(error)).toContain("URL");
    expect(String(error)).not.toContain("secret");
  }
});

type Name = (typeof settingsTable)[number][0];
const tls = { TLS_CERT: "c.pem", TLS_KEY: "k.pem" };
const redis = { STORE_TYPE: "redis", REDIS_URL: "cache:6380" };
/** A value of each setting, what it is to become, and what else has to be set. */
const single: Readonly<
  Record<Exclude<Name, "URL">, readonly [value: string, is: object, with_?: object]>
> = {
  STORE_TYPE: ["redis", { redis: { prefix: "engram:" } }],
  DB_PATH: ["/x", { dbPath: "/x" }],
  ACCEPT_DATA_LOSS: ["1", { acceptDataLoss: true }],
  REDIS_URL: [
    "cache:6380",
    { redis: { place: { addresses: [{ host: "cache", port: 6380 }] } } },
    redis,
  ],
  REDIS_KEY_PREFIX: ["mine:", { redis: { prefix: "mine:" } }, redis],
  REDIS_CA: ["ca.pem", { redis: { caPath: "ca.pem" } }, redis],
  REDIS_WAIT_REPLICAS: ["2", { redis: { replicas: 2 } }, redis],
  GRPC_PORT: ["4000", { port: 4000 }],
  HOST: ["::1", { host: "::1" }],
  ALLOW_ANONYMOUS: ["1", { host: "0.0.0.0" }, { HOST: "0.0.0.0" }],
  API_KEY: ["one,two", { apiKeys: ["one", "two"] }],
  TLS_CERT: ["other.pem", { tls: { certPath: "other.pem", keyPath: "k.pem" } }, tls],
  TLS_KEY: ["other.pem", { tls: { certPath: "c.pem", keyPath: "other.pem" } }, tls],
  CORS_ORIGINS: ["https://a.example", { corsOrigins: ["https://a.example"] }],
  TOOLS_PATH: ["/x", { toolsPath: "/x" }],
  TOOL_FUEL: ["12345", { toolLimits: { fuel: 12345 } }],
  TOOL_MEMORY_MB: ["3", { toolLimits: { memoryBytes: 3 * 1024 * 1024 } }],
  TOOL_TIMEOUT_MS: ["77", { toolLimits: { timeoutMs: 77 } }],
  TOOL_OUTPUT_KB: ["5", { toolLimits: { outputBytesMax: 5 * 1024 } }],
  LLM_PROVIDER: ["scripted", { llmProvider: "scripted" }],
  OLLAMA_URL: ["http://o:1", { ollamaUrl: "http://o:1" }],
  LLM_BASE_URL: ["http://v:1/v1", { llmBaseUrl: "http://v:1/v1" }],
  LLM_API_KEY: ["sk-1", { llmApiKey: "sk-1" }],
  LLM_TIMEOUT_MS: ["88", { llmTimeoutMs: 88 }],
  LLM_OPTIONS: ['{"num_ctx": 9}', { llmOptions: { num_ctx: 9 } }],
  WORKER_CONCURRENCY: ["0", { concurrency: 0 }],
  LEASE_TTL_MS: ["999", { leaseTtlMs: 999 }],
  HEARTBEAT_MS: ["555", { heartbeatMs: 555 }],
  LOG_LEVEL: ["warn", { logLevel: "warn" }],
  LOG_FORMAT: ["text", { logFormat: "text" }],
};

const flagOf = (name: string): string => `--${name.toLowerCase().replaceAll("_", "-")}`;

test.each(Object.entries(single))(
  "%s is heard from the environment and as a flag, which goes before",
  (name, [value, wanted, with_ = {}]) => {
    const others: Record<string, string> = { ...with_ };
    delete others[name];
    const isSwitch = name === "ACCEPT_DATA_LOSS" || name === "ALLOW_ANONYMOUS";
    const flag = isSwitch ? [flagOf(name)] : [flagOf(name), value];
    expect(settings({ ...others, [name]: value })).toMatchObject(wanted);
    expect(settings(others, ...flag)).toMatchObject(wanted);
    expect(settings({ ...others, [name]: "not a value" }, ...flag)).toMatchObject(wanted);
  },
);

test("every setting is tried above", () => {
  const names = settingsTable.map(([name]) => name).filter((name) => name !== "URL");
  expect(Object.keys(single).toSorted()).toEqual(names.toSorted());
  const { url } = readClientSettings(["--url", "http://a:1"], { URL: "http://b:2" }).settings;
  expect(url).toBe("http://a:1");
});

test("where nothing is set, the defaults are those that operators are told", () => {
  expect(settings({})).toEqual({
    dbPath: "./data",
    toolsPath: "./tools",
    toolLimits: {
      fuel: 1_000_000_000,
      memoryBytes: 64 * 1024 * 1024,
      timeoutMs: 10_000,
      outputBytesMax: 256 * 1024,
    },
    acceptDataLoss: false,
    redis: null,
    host: "127.0.0.1",
    port: 50_051,
    apiKeys: [],
    tls: null,
    corsOrigins: [],
    llmProvider: "ollama",
    ollamaUrl: "http://localhost:11434",
    llmBaseUrl: "https://api.openai.com/v1",
    llmApiKey: null,
    llmTimeoutMs: 120_000,
    llmOptions: {},
    concurrency: 64,
    leaseTtlMs: 10_000,
    heartbeatMs: 15_000,
    logLevel: "info",
    logFormat: "json",
    warnings: [],
  });
  const shared = { prefix: "engram:", caPath: null, replicas: 0, place: { tls: false } };
  expect(settings({ STORE_TYPE: "redis" })).toMatchObject({ redis: shared });
  expect(settings({ STORE_TYPE: "redis" }).redis?.place.addresses).toEqual([
    { host: "localhost", port: 6379 },
  ]);
  const badger = readSettings([], { STORE_TYPE: "badger" }, true);
  expect([badger.redis, badger.logFormat, badger.warnings.length]).toEqual([null, "text", 1]);
});
