import { cp, mkdtemp, readdir, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dir, "../..");

/** The type that the next version gives to a message in a store of its own format; no version before knows it. */
export const nextType = "MessageTaken";

type Patch = {
  readonly file: string;
  readonly text: RegExp;
  /** Of what the text's groups hold. */
  readonly by: (...groups: readonly string[]) => string;
};

const oneMore = (number = ""): string => `${Number(number) + 1}`;

/** What the next version does otherwise. */
const patches: readonly Patch[] = [
  { file: "package.json", text: /"version": "[^"]+"/, by: () => '"version": "99.0.0"' },
  {
    file: "src/store/codec.ts",
    text: /stateVersion = (\d+);/,
    by: (version) => `stateVersion = ${oneMore(version)};`,
  },
  {
    file: "src/store/codec.ts",
    text: /encodeEvent = \(event: Event\): string => JSON\.stringify\(event\);/,
    by: () =>
      `encodeEvent = (event: Event): string =>
        JSON.stringify(writing.next && event.type === "MessageReceived" ? { ...event, type: "${nextType}" } : event);
      /** False while the store of this process is in an older format. */
      export const writing = { next: true };`,
  },
  {
    file: "src/store/codec.ts",
    text: /eventOf\(parse\(body\)\)/,
    by: () =>
      `eventOf(parse(body.replace(/^\\{"type":"${nextType}"/, '{"type":"MessageReceived"')))`,
  },
  {
    file: "src/store/redis/formats.ts",
    text: /knownFormats: Formats = \{ oldest: \d+, newest: (\d+) \}/,
    by: (newest) =>
      `knownFormats: Formats = { oldest: ${newest}, newest: ${oneMore(newest)} };
      import { writing } from "../codec.ts"`,
  },
  {
    file: "src/store/redis/formats.ts",
    text: /learnt = Math\.max\(learnt \?\? 0, format\);/,
    by: () => "learnt = Math.max(learnt ?? 0, format); writing.next = learnt === known.newest;",
  },
  {
    file: "src/store/sqlite/schema.ts",
    text: /formatVersion = (\d+);/,
    by: (format) => `formatVersion = ${oneMore(format)};`,
  },
  {
    file: "src/store/sqlite/schema.ts",
    text: /const fault = schemaFault\(/,
    by: () => "db.run(`PRAGMA user_version = ${formatVersion}`);\n  const fault = schemaFault(",
  },
];

async function apply(folder: string, { file, text, by }: Patch): Promise<void> {
  const path = join(folder, file);
  const whole = await Bun.file(path).text();
  const found = [...whole.matchAll(new RegExp(text, "g"))];
  if (found.length !== 1)
    throw new Error(
      `${text.source} stands ${found.length} times in ${file}: mend the next version`,
    );
  await Bun.write(
    path,
    whole.replace(text, (_, ...groups: string[]) => by(...groups)),
  );
}

/** The binary of a version to come, built from these sources with a few lines changed. Whoever asked for it removes it. */
export async function buildNextVersion(): Promise<{
  readonly binary: string;
  remove(): Promise<void>;
}> {
  const folder = await mkdtemp(join(tmpdir(), "engram-next-"));
  const remove = (): Promise<void> => rm(folder, { recursive: true, force: true });
  try {
    await cp(join(root, "src"), join(folder, "src"), { recursive: true });
    for (const path of ["package.json", "tsconfig.json", "bunfig.toml"])
      await cp(join(root, path), join(folder, path));
    for (const file of await readdir(join(root, "tools")))
      if (file.endsWith(".wasm")) await cp(join(root, "tools", file), join(folder, "tools", file));
    await symlink(join(root, "node_modules"), join(folder, "node_modules"));
    for (const patch of patches) await apply(folder, patch);
    const binary = join(folder, "engram");
    await build(folder, binary);
    return { binary, remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** As `bun run build` does, without what makes it start quicker and its traces readable. */
async function build(folder: string, binary: string): Promise<void> {
  const threads = ["src/store/sqlite/thread.ts", "src/store/sqlite/scrub-thread.ts"];
  const options = [
    "--compile",
    "--splitting",
    "--format=esm",
    "--no-compile-autoload-dotenv",
    "--no-compile-autoload-bunfig",
    `--outfile=${binary}`,
  ];
  const child = Bun.spawn([process.execPath, "build", "src/main.ts", ...threads, ...options], {
    cwd: folder,
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
  });
  const [said, exitCode] = await Promise.all([child.stderr.text(), child.exited]);
  if (exitCode !== 0) throw new Error(`the next version does not build:\n${said}`);
}
