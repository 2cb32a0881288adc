import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { watch } from "node:fs";
import { cp, mkdir, readdir, rm, symlink } from "node:fs/promises";
import { join } from "node:path";
import {
  binary,
  makeFolder,
  openEngine,
  runBinary,
  spawnBinary,
  type Settings,
} from "../support/engine-process.ts";
import { assemble, echoText, moduleText, printing } from "../sandbox/harness.ts";
import { putTools } from "../support/tool-modules.ts";

setDefaultTimeout(60_000);

const shipped = join(import.meta.dir, "..", "..", "tools");
let folder: string;
const put = async (name: string, text: string): Promise<void> =>
  void (await Bun.write(join(folder, "tools", `${name}.wasm`), await assemble(text)));
const tool = (args: readonly string[], settings: Settings = {}) =>
  runBinary(folder, ["tool", ...args], { TMPDIR: join(folder, "tmp"), ...settings });
/** What the commands have left behind, in the folder or the system's temporary one. */
const leftBehind = async () => [
  await readdir(join(folder, "tmp")),
  (await readdir(folder)).toSorted(),
];

beforeAll(async () => {
  folder = await makeFolder();
  await mkdir(join(folder, "tmp"));
  for (const name of ["clock", "text_stats"])
    await cp(join(shipped, `${name}.wasm`), join(folder, "tools", `${name}.wasm`));
  await putTools(folder, "looping", "failing", "reaching", "hoarding");
  await put("echo", echoText);
});
afterAll(async () => {
  expect(await leftBehind()).toEqual([[], ["tmp", "tools"]]);
  await rm(folder, { recursive: true });
});

test("run prints the output and nothing else on stdout, and what it took on stderr", async () => {
  const input = '{"text": "strawberry", "find": "r"}';
  const { exitCode, stdout, stderr } = await tool(["run", "text_stats", input]);
  expect(exitCode).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ characters: 10, found: 3 });
  expect(stderr).toMatch(/^fuel \d+, memory [\d.]+ (KiB|MiB), time \d+ ms\n$/);
  const again = await tool(["run", "text_stats", input]);
  expect(again.stdout).toBe(stdout);
  const fuel = (line: string): string => line.split(",")[0] ?? "";
  expect(fuel(again.stderr)).toBe(fuel(stderr));
});

test("run gives the tool its name and its input; none is an empty object", async () => {
  const json = '{"a": "ü", "b": [1, 2]}';
  expect((await tool(["run", "echo", json])).stdout).toBe(`echo|${json}|${json}|`);
  expect((await tool(["run", "echo"])).stdout).toBe("echo|{}|{}|");
  const flags = ["--tools-path", "tools", "run", "echo", "--tool-fuel=100000", "--", "{}"];
  expect((await tool(flags)).stdout).toBe("echo|{}|{}|");
});

test("run prints an output larger than a pipe whole, to a slow reader too", async () => {
  await put("large", printing("0123456789abcdef".repeat(3_000)));
  await put(
    "larger",
    moduleText(
      `(func (export "_start")
        (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 1000000))
        (memory.fill (i32.const 64) (i32.const 97) (i32.const 1000000))
        (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))`,
      `(import "wasi_snapshot_preview1" "fd_write"
        (func $fd_write (param i32 i32 i32 i32) (result i32)))`,
      `(memory (export "memory") 16)`,
    ),
  );
  expect((await tool(["run", "large"])).stdout.length).toBe(48_000);
  const larger = await tool(["run", "larger"], { TOOL_OUTPUT_KB: "1024" });
  expect(larger.stdout).toBe("a".repeat(1_000_000));
  const slowly = '"$0" tool run larger | dd bs=16 status=none | wc -c';
  const reading = Bun.spawn(["sh", "-c", slowly, binary], {
    cwd: folder,
    env: { ...Bun.env, TMPDIR: join(folder, "tmp"), TOOL_OUTPUT_KB: "1024" },
    stderr: "ignore",
  });
  expect((await reading.stdout.text()).trim()).toBe("1000000");
  const cut = await tool(["run", "larger"]);
  expect(cut).toMatchObject({ exitCode: 1, stdout: "" });
  expect(cut.stderr).toStartWith("TOOL_OUTPUT_TOO_LARGE: ");
});

test("a failed call exits with 1 and says its code and why", async () => {
  const failures = [
    ["looping", "{}", "TOOL_OUT_OF_FUEL", "fuel of 1000 units"],
    ["hoarding", "{}", "TOOL_OUT_OF_MEMORY", "2 MiB"],
    ["failing", "{}", "TOOL_EXITED", "code 3"],
    ["reaching", "{}", "TOOL_INVALID_MODULE", "env.open"],
    ["absent", "{}", "TOOL_NOT_FOUND", "absent"],
    ["../tools/echo", "{}", "TOOL_NOT_FOUND", "../tools/echo"],
    ["clock", '{"offset": 7}', "TOOL_INVALID_INPUT", "offset"],
    ["clock", "tea", "TOOL_INVALID_INPUT", "JSON"],
  ] as const;
  const limits = { TOOL_MEMORY_MB: "2" };
  const ends = failures.map(async ([name, input, code, why]) => {
    const fuel = name === "looping" ? ["--tool-fuel", "1000"] : [];
    const { exitCode, stdout, stderr } = await tool(["run", name, input, ...fuel], limits);
    expect({ name, exitCode, stdout }).toEqual({ name, exitCode: 1, stdout: "" });
    expect(stderr).toStartWith(`${code}: `);
    expect(stderr).toContain(why);
  });
  await Promise.all(ends);
});

test("a flag wins over the environment, and a tool's own limits over both", async () => {
  const late = ["run", "looping", "--tool-fuel", "100000000000", "--tool-timeout-ms", "300"];
  const timedOut = await tool(late, { TOOL_FUEL: "1000", TOOL_TIMEOUT_MS: "60000" });
  expect(timedOut.stderr).toStartWith("TOOL_TIMEOUT: ");
  expect(timedOut.stderr).toContain("300 ms");
  await cp(join(folder, "tools", "looping.wasm"), join(folder, "tools", "modest.wasm"));
  await Bun.write(join(folder, "tools", "modest.json"), '{"limits": {"fuel": 77}}');
  expect((await tool(["run", "modest"])).stderr).toContain("fuel of 77 units");
});

test("list has a line for each tool, with the reason where one cannot be used", async () => {
  const { exitCode, stdout, stderr } = await tool(["list"]);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  const lines = stdout.trimEnd().split("\n");
  const names = (await readdir(join(folder, "tools"))).filter((file) => file.endsWith(".wasm"));
  expect(lines.map((line) => `${line.split(" ")[0]}.wasm`)).toEqual(names.toSorted());
  const line = (name: string): string => lines.find((it) => it.startsWith(`${name} `)) ?? "";
  expect(line("clock")).toContain("Tells the present date and time");
  expect(line("reaching")).toContain("unusable: reaching.wasm cannot be used: the module imports");
  expect(line("echo")).toContain(`${(await assemble(echoText)).length} bytes`);
  const nowhere = await tool(["list", "--tools-path", "nowhere"]);
  expect(nowhere).toEqual({
    exitCode: 0,
    stdout: "",
    stderr: "engram: there are no tools in nowhere\n",
  });
});

test("what a tool says of itself gives a terminal no orders", async () => {
  await cp(join(folder, "tools", "echo.wasm"), join(folder, "tools", "sly.wasm"));
  const description = "first\u001b[2J\u009b1A\r\nsecond";
  await Bun.write(join(folder, "tools", "sly.json"), JSON.stringify({ description }));
  const { stdout: listed } = await tool(["list"]);
  expect(listed).toContain("first\uFFFD[2J\uFFFD1A second");
  const { stdout: inspected } = await tool(["inspect", "tools/sly.wasm"]);
  expect(inspected).toContain("first\uFFFD[2J\uFFFD1A second");
});

test("inspect says all of a usable file, wherever it lies", async () => {
  const place = join(folder, "tools", "elsewhere");
  await mkdir(place);
  await cp(join(folder, "tools", "clock.wasm"), join(place, "watch.wasm"));
  const { exitCode, stdout, stderr } = await tool(["inspect", join(place, "watch.wasm")]);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
  const bytes = await Bun.file(join(place, "watch.wasm")).bytes();
  const sha256 = new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
  const facts = {
    name: "watch",
    usable: "yes",
    sha256,
    size: `${bytes.length} bytes`,
    exports: "memory, _start",
    limits: "fuel 1000000000, memory 64 MiB, time 10000 ms, output 256 KiB",
    confirmation: "not required",
  };
  for (const [name, value] of Object.entries(facts))
    expect(stdout).toMatch(new RegExp(`^${name} +${value}$`, "m"));
  expect(stdout).toMatch(/^imports .*clock_time_get/m);
  expect(stdout).toMatch(/^memory +64 KiB at the start, no maximum of its own$/m);
  const schema: unknown = JSON.parse(stdout.slice(stdout.indexOf("parameters") + 10));
  expect(schema).toMatchObject({ properties: { offset: { type: "string" } } });
});

test("inspect exits with 1 for a file that would be refused, and says why", async () => {
  await Bun.write(join(folder, "tools", "broken.wasm"), "no module");
  await Bun.write(join(folder, "tools", "odd name.wasm"), await assemble(echoText));
  await symlink("/etc/hostname", join(folder, "tools", "leading.wasm"));
  const reasons = {
    "tools/broken.wasm": "not a valid WebAssembly module",
    "tools/reaching.wasm": "env.open",
    "tools/leading.wasm": "leads out of the tools folder",
    "tools/odd name.wasm": "letters, digits, _ and -",
    "tools/sly.json": "named NAME.wasm",
    "tools/none.wasm": "there is no file tools/none.wasm",
  };
  for (const [file, reason] of Object.entries(reasons)) {
    const { exitCode, stdout, stderr } = await tool(["inspect", file]);
    expect({ file, exitCode }).toEqual({ file, exitCode: 1 });
    expect(stdout + stderr).toContain(reason);
  }
});

test("a signal ends a call, and leaves nothing behind", async () => {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    const begun = Promise.withResolvers<void>();
    const watcher = watch(join(folder, "tmp"), () => begun.resolve());
    watcher.on("error", begun.reject);
    const endless = ["--tool-fuel", "100000000000", "--tool-timeout-ms", "60000"];
    const run = spawnBinary(folder, ["tool", "run", "looping", ...endless], {
      TMPDIR: join(folder, "tmp"),
    });
    await begun.promise;
    watcher.close();
    run.kill(signal);
    expect(await run.stderr.text()).toBe(`engram: stopped by ${signal}\n`);
    expect(await run.exited).toBe(1);
    expect((await leftBehind())[0]).toEqual([]);
  }
});

test("bad usage exits with 2 and one line", async () => {
  const usages = [
    [],
    ["brew"],
    ["list", "extra"],
    ["run"],
    ["run", "clock", "{}", "extra"],
    ["inspect"],
    ["inspect", "a.wasm", "b.wasm"],
    ["list", "--no-such-flag"],
    ["list", "--tools-path"],
    ["list", "--tools-path", "--tool-fuel"],
    ["list", "--tool-fuel", "much"],
  ];
  for (const args of usages) {
    const { exitCode, stdout, stderr } = await tool(args);
    expect({ args, exitCode, stdout }).toEqual({ args, exitCode: 2, stdout: "" });
    expect(stderr).toMatch(/^engram: [^\n]+\n$/);
  }
  expect((await tool(["list"], { TOOL_MEMORY_MB: "0" })).stderr).toContain("TOOL_MEMORY_MB");
  expect((await runBinary(folder, ["serve", "tool"])).exitCode).toBe(2);
});

test("beside a running engine the commands use its cache and take no lock", async () => {
  await using engine = await openEngine();
  await putTools(engine.folder, "quick");
  const { exitCode, stdout } = await runBinary(engine.folder, ["tool", "run", "quick"]);
  expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: "done" });
  const cache = join(engine.folder, "data", "tools-cache");
  const [module, ...others] = await readdir(cache);
  expect(others).toEqual([]);
  expect(
    (await runBinary(engine.folder, ["tool", "inspect", "tools/quick.wasm"])).stdout,
  ).toContain(module?.split(".")[0] ?? "no module");
  expect(await engine.stop()).toBe(0);
});
