import { describe, expect, test } from "bun:test";
import { type Settings, readClientSettings, readSettings } from "../../src/cli/settings.ts";

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
