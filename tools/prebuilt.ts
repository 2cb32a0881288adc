/**
 * Builds each C program of tools/src into prebuilt/NAME.wasm, its SHA-256 beside it: tools/build.ts takes these, so that
 * building Engram needs no C compiler. With Debian 12's compiler and library the same sources give the same bytes. An
 * argument names a folder other than tools/src/prebuilt.
 */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";

const sourceDir = join(import.meta.dir, "src");
const targetDir = resolve(process.argv[2] ?? join(sourceDir, "prebuilt"));
const packages = "clang-14 lld-14 wasi-libc libclang-rt-14-dev-wasm32";
const compiler = ["clang-14", "--target=wasm32-wasi", "-std=c17", "-Oz", "-s"];
const warnings = ["-Wall", "-Wextra", "-Werror"];

const compile = (name: string, file: string): void => {
  // From inside the folder, so that no path of this machine can get into the module.
  const command = [...compiler, ...warnings, `${name}.c`, "-o", file];
  const { exitCode, stderr } = Bun.spawnSync(command, { cwd: sourceDir, stderr: "pipe" });
  if (exitCode !== 0) throw new Error(`${command.join(" ")} failed:\n${stderr.toString()}`);
};

const build = async (name: string): Promise<void> => {
  const file = join(targetDir, `${name}.wasm`);
  compile(name, file);
  const sha256 = new Bun.CryptoHasher("sha256").update(await readFile(file)).digest("hex");
  // As sha256sum writes it, for `sha256sum -c`.
  await writeFile(`${file}.sha256`, `${sha256}  ${name}.wasm\n`);
  console.log(file);
};

if (Bun.which("clang-14") === null)
  throw new Error(`clang-14 is not installed; on Debian 12: apt-get install ${packages}`);
const sources = (await readdir(sourceDir)).filter((file) => file.endsWith(".c")).toSorted();
for (const source of sources) await build(source.slice(0, -".c".length));
