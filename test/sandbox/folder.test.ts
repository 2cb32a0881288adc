import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  appendFile,
  mkdir,
  readFile,
  readdir,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import type { ToolErrorCode } from "../../src/agent/event.ts";
import { moduleLimits } from "../../src/limits.ts";
import { openSandbox } from "../../src/sandbox/wasm-sandbox.ts";
import {
  type Harness,
  assemble,
  childCommand,
  defaults,
  noLimits,
  openHarness,
  printing,
  startText,
} from "./harness.ts";
import { nested } from "../support/events.ts";
import { withCustomSection } from "./module-bytes.ts";
import { systemClock } from "../../src/clock.ts";

let harness: Harness;
beforeEach(async () => {
  harness = await openHarness();
});
afterEach(() => harness.close());

const file = (name: string): string => join(harness.toolsPath, name);

const expectError = async (name: string, code: ToolErrorCode, message: RegExp): Promise<void> => {
  const { error } = await harness.run(name);
  expect(error?.code).toBe(code);
  expect(error?.message).toMatch(message);
};

const listed = async (name: string) =>
  (await harness.sandbox.list()).find((tool) => tool.name === name);

const described = async (description: string): Promise<Uint8Array> =>
  withCustomSection(await assemble(startText("(nop)")), "engram.tool", description);

test("a tool is there from the moment its file is, replaced with it, and gone with it", async () => {
  expect(await harness.sandbox.list()).toEqual([]);
  await expectError("one", "TOOL_NOT_FOUND", /"one"/);
  await harness.put("one", printing("first"));
  expect((await harness.run("one")).output).toBe("first");
  const before = await listed("one");
  await harness.put("one", printing("other"));
  expect((await harness.run("one")).output).toBe("other");
  const after = await listed("one");
  expect(before?.error).toBeNull();
  expect(after?.sha256).not.toBe(before?.sha256);
  await rm(file("one.wasm"));
  await expectError("one", "TOOL_NOT_FOUND", /"one"/);
  expect(await harness.sandbox.list()).toEqual([]);
});

test("a file that changed within its size and modification time is seen", async () => {
  const time = new Date("2026-01-31T12:00:00Z");
  await harness.put("one", printing("first"));
  await utimes(file("one.wasm"), time, time);
  const { size, ino } = await stat(file("one.wasm"));
  expect((await harness.run("one")).output).toBe("first");
  await harness.put("one", printing("other"));
  await utimes(file("one.wasm"), time, time);
  expect(await stat(file("one.wasm"))).toMatchObject({ size, ino, mtime: time });
  expect((await harness.run("one")).output).toBe("other");
});

test("half a file is an unusable one until the other half is there", async () => {
  const whole = await assemble(printing("whole"));
  const half = Math.floor(whole.length / 2);
  await harness.put("one", whole.slice(0, half));
  await expectError("one", "TOOL_INVALID_MODULE", /one\.wasm cannot be used/);
  expect((await listed("one"))?.error).toMatch(/cut off/);
  await appendFile(file("one.wasm"), whole.slice(half));
  expect((await harness.run("one")).output).toBe("whole");
  expect((await listed("one"))?.error).toBeNull();
});

test("names are letters, digits, _ and -", async () => {
  await harness.put("A-b_9", printing("fine"));
  await harness.put("a.b", printing("no"));
  await harness.put("x".repeat(65), printing("no"));
  await writeFile(file(".hidden.wasm"), "");
  await writeFile(file("notes.txt"), "");
  const tools = await harness.sandbox.list();
  expect(tools.map(({ name }) => name)).toEqual(["A-b_9", "a.b", "x".repeat(65)]);
  expect(tools.map(({ error }) => error === null)).toEqual([true, false, false]);
  expect(tools[1]?.error).toMatch(/rename it/);
  for (const name of ["../tools/A-b_9", "a.b", "", "/", "A-b_9.wasm", "A-b_9\0"]) {
    await expectError(name, "TOOL_NOT_FOUND", /there is no tool/);
  }
});

test("links within the folder are followed, others are not", async () => {
  const outside = join(harness.toolsPath, "..", "outside.wasm");
  await writeFile(outside, await assemble(printing("outside")));
  await harness.put("real", printing("inside"));
  await symlink(outside, file("out.wasm"));
  await symlink("real.wasm", file("in.wasm"));
  await symlink("nothing.wasm", file("dangling.wasm"));
  await expectError("out", "TOOL_INVALID_MODULE", /leads out of the tools folder/);
  expect((await harness.run("in")).output).toBe("inside");
  await expectError("dangling", "TOOL_NOT_FOUND", /dangling/);
});

test("a thousand tools are all there, beside a file of 100 MB", async () => {
  const crowd = await openHarness();
  try {
    const module = await assemble(printing("one of many"));
    await Promise.all(Array.from({ length: 1000 }, (_, i) => crowd.put(`tool_${i}`, module)));
    const huge = join(crowd.toolsPath, "huge.wasm");
    await writeFile(huge, "");
    await truncate(huge, 100 * 1024 * 1024);
    const before = process.cpuUsage();
    const tools = await crowd.sandbox.list();
    expect(tools.filter(({ error }) => error === null)).toHaveLength(1000);
    expect(tools.find(({ name }) => name === "huge")?.error).toMatch(/the limit is/);
    // Two milliseconds a tool at most, between turns of the event loop: none of them reads or checks a module here.
    const { user, system } = process.cpuUsage(before);
    expect((user + system) / 1000).toBeLessThan(2_000);
    expect((await crowd.run("tool_999")).output).toBe("one of many");
  } finally {
    await crowd.close();
  }
});

test("what is not a file of a sensible size is not read", async () => {
  await mkdir(file("folder.wasm"));
  await writeFile(file("large.wasm"), "");
  await truncate(file("large.wasm"), moduleLimits.bytesMax + 1);
  await Bun.$`mkfifo ${file("pipe.wasm")}`;
  await expectError("folder", "TOOL_INVALID_MODULE", /not a regular file/);
  await expectError("pipe", "TOOL_INVALID_MODULE", /not a regular file/);
  await expectError("large", "TOOL_INVALID_MODULE", /the limit is/);
});

test("a tool without a description takes any object", async () => {
  await harness.put("plain", startText("(nop)"));
  expect(await listed("plain")).toMatchObject({
    description: "",
    parameters: { type: "object" },
    requiresConfirmation: false,
    limits: defaults,
    error: null,
  });
});

test("a tool describes itself in its section engram.tool", async () => {
  const text = JSON.stringify({
    description: "Adds.",
    parameters: { type: "object", properties: { a: { type: "number" } } },
    requires_confirmation: true,
    limits: { fuel: "5000", memory_bytes: 131072, timeout: "1.5s", max_output_bytes: 99 },
  });
  await harness.put("adder", await described(text));
  expect(await listed("adder")).toMatchObject({
    description: "Adds.",
    parameters: { type: "object", properties: { a: { type: "number" } } },
    requiresConfirmation: true,
    limits: { fuel: 5000, memoryBytes: 131072, timeoutMs: 1500, outputBytesMax: 99 },
    error: null,
  });
});

test("a description beside the file goes before the one in it, and takes effect at once", async () => {
  await harness.put("tool", await described(`{"description": "inside"}`));
  expect((await listed("tool"))?.description).toBe("inside");
  await writeFile(file("tool.json"), `{"description": "beside"}`);
  expect((await listed("tool"))?.description).toBe("beside");
  await writeFile(file("tool.json"), `{"description": "later", "limits": {"timeout": "9999999s"}}`);
  const tool = await listed("tool");
  expect(tool?.description).toBe("later");
  expect(tool?.limits.timeoutMs).toBe(600_000);
  await rm(file("tool.json"));
  expect((await listed("tool"))?.description).toBe("inside");
});

test("a description that is not one makes the tool unusable, and says why", async () => {
  const broken: readonly (readonly [string, RegExp])[] = [
    ["{", /JSON/],
    ["[]", /not a JSON object/],
    [`{"description": 1}`, /"description"/],
    [`{"parameters": "none"}`, /"parameters"/],
    [`{"parameters": {"type": "string"}}`, /"parameters"\.type must be "object"/],
    [
      `{"parameters": {"properties": {"n": {"type": "float"}}}}`,
      /"parameters"\.properties\.n\.type/,
    ],
    [`{"parameters": {"properties": ${nested(45)}}}`, /in one another/],
    [`{"requires_confirmation": "yes"}`, /"requires_confirmation"/],
    [`{"limits": {"fuel": -1}}`, /"fuel"/],
    [`{"limits": {"timeout": 5}}`, /"timeout"/],
    [`{"limits": {"memory_mb": 5}}`, /"memory_mb" is unknown/],
  ];
  for (const [text, why] of broken) {
    await harness.put("tool", await described(text));
    await expectError("tool", "TOOL_INVALID_MODULE", why);
  }
  await harness.put("tool", await described(" ".repeat(moduleLimits.metadataBytesMax + 1)));
  await expectError("tool", "TOOL_INVALID_MODULE", /engram\.tool/);
});

test("metered modules outlast the engine, and are made anew where they are lost or damaged", async () => {
  await harness.put("one", printing("one"));
  expect((await harness.run("one")).output).toBe("one");
  const [cached] = await readdir(harness.cacheDir);
  const path = join(harness.cacheDir, cached ?? "");
  const { ino } = await stat(path);
  const options = { ...harness, childCommand, clock: systemClock, defaults, log: () => undefined };
  const call = { name: "one", inputJson: "{}", parameters: null, limits: noLimits };
  const second = await openSandbox(options);
  try {
    expect((await second.run(call, new AbortController().signal)).output).toBe("one");
    expect((await stat(path)).ino).toBe(ino);
    // A memory limit that no child has compiled it for yet makes each of these read the cache.
    await truncate(path, 100);
    expect((await harness.run("one", "{}", { memoryBytes: 131072 })).output).toBe("one");
    expect((await stat(path)).size).toBeGreaterThan(100);
    const damaged = await readFile(path);
    damaged[damaged.length - 1] = (damaged.at(-1) ?? 0) ^ 1;
    await writeFile(path, damaged);
    expect((await harness.run("one", "{}", { memoryBytes: 196608 })).output).toBe("one");
    await rm(path);
    expect((await harness.run("one", "{}", { memoryBytes: 262144 })).output).toBe("one");
    await rename(path, `${path}.away`);
    await rm(harness.cacheDir, { recursive: true });
    expect((await harness.run("one", "{}", { memoryBytes: 524288 })).output).toBe("one");
  } finally {
    await second.close();
  }
});

test("a folder that is not there yet is an empty one, and the operator is told", async () => {
  await rm(harness.toolsPath, { recursive: true });
  expect(await harness.sandbox.list()).toEqual([]);
  expect(await harness.sandbox.warnings()).toEqual([expect.stringContaining(harness.toolsPath)]);
  await expectError("one", "TOOL_NOT_FOUND", /"one"/);
  await mkdir(harness.toolsPath);
  expect(await harness.sandbox.warnings()).toEqual([]);
  await harness.put("one", printing("one"));
  expect((await harness.run("one")).output).toBe("one");
});

test("inspect tells what a module imports, exports and needs", async () => {
  await harness.put("one", printing("one"));
  const found = await harness.sandbox.inspect("one");
  expect(found?.info).toMatchObject({
    imports: ["fd_write"],
    exports: ["memory", "_start"],
    pagesMin: 1,
    pagesMax: null,
    functionCount: 1,
  });
  expect(await harness.sandbox.inspect("two")).toBeNull();
});
