/**
 * Builds each tool of tools/src that has a description (NAME.json) into NAME.wasm, the description inside as the custom
 * section `engram.tool`: from NAME.ts, or from the module in prebuilt/ where tools/prebuilt.ts has made one. The same
 * sources give the same bytes. An argument names a folder other than tools/.
 */
import { existsSync } from "node:fs";
import { readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import asc from "assemblyscript/asc";

const sourceDir = join(import.meta.dir, "src");
const targetDir = process.argv[2] ?? import.meta.dir;
const sectionName = "engram.tool";

const compile = async (name: string): Promise<Uint8Array> => {
  const built = new Map<string, Uint8Array>();
  let complaints = "";
  const { error } = await asc.main(
    [
      `${name}.ts`,
      "--outFile",
      "tool.wasm",
      "-O3",
      "--exportStart",
      "_start",
      "--use",
      "abort=lib/wasi/abort",
    ],
    {
      readFile: async (file) => readFile(join(sourceDir, file), "utf8").catch(() => null),
      writeFile: (file, contents) => {
        built.set(file, typeof contents === "string" ? Buffer.from(contents) : contents);
      },
      listFiles: () => [],
      stderr: { write: (text) => void (complaints += String(text)) },
    },
  );
  const module = built.get("tool.wasm");
  if (error !== null || module === undefined)
    throw new Error(`${name} does not compile:\n${complaints}`);
  return module;
};

/** A module that another language's compiler has built before, held against its digest. */
const takePrebuilt = async (name: string): Promise<Uint8Array> => {
  const file = join(sourceDir, "prebuilt", `${name}.wasm`);
  const module = await readFile(file);
  const sha256 = new Bun.CryptoHasher("sha256").update(module).digest("hex");
  if ((await readFile(`${file}.sha256`, "utf8")) !== `${sha256}  ${name}.wasm\n`)
    throw new Error(`${file} is not what its digest says; build it anew with tools/prebuilt.ts`);
  return module;
};

const sizeBytes = (value: number): readonly number[] =>
  value < 128 ? [value] : [(value & 127) | 128, ...sizeBytes(value >>> 7)];

const customSection = (name: string, content: Uint8Array): Buffer => {
  const label = Buffer.from(name);
  const size = 1 + label.length + content.length;
  return Buffer.concat([Buffer.from([0, ...sizeBytes(size), label.length]), label, content]);
};

const build = async (name: string): Promise<void> => {
  const described: unknown = JSON.parse(await readFile(join(sourceDir, `${name}.json`), "utf8"));
  const section = customSection(sectionName, Buffer.from(JSON.stringify(described)));
  const file = join(targetDir, `${name}.wasm`);
  const isHere = existsSync(join(sourceDir, `${name}.ts`));
  const module = isHere ? await compile(name) : await takePrebuilt(name);
  await writeFile(file, Buffer.concat([module, section]));
  console.log(file);
};

const names = (await readdir(sourceDir))
  .filter((file) => file.endsWith(".json"))
  .map((file) => file.slice(0, -".json".length))
  .toSorted();
for (const name of names) await build(name);
