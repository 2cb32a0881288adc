/**
 * Builds each tool of tools/src that is written in C or Rust into prebuilt/NAME.wasm, its SHA-256 beside it:
 * tools/build.ts takes these, so that building Engram needs neither compiler. With the compilers of Debian 12 the same
 * sources give the same bytes. An argument names a folder other than tools/src/prebuilt.
 */
import { existsSync } from "node:fs";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { extname, join, resolve } from "node:path";

const sourceDir = join(import.meta.dir, "src");
const targetDir = resolve(process.argv[2] ?? join(sourceDir, "prebuilt"));

type Compiler = {
  readonly command: readonly string[];
  /** Is there where the compiler can build for WASI, and the packages that bring it. */
  readonly library: string;
  readonly packages: string;
};

const compilers: Readonly<Record<string, Compiler>> = {
  ".c": {
    command: ["clang-14", "--target=wasm32-wasi", "-std=c17", "-Wall", "-Wextra", "-Oz", "-s"],
    library: "/usr/include/wasm32-wasi",
    packages: "clang-14 lld-14 wasi-libc libclang-rt-14-dev-wasm32",
  },
  ".rs": {
    // By its path: another one may come first.
    command: [
      "/usr/bin/rustc",
      "--target=wasm32-wasi",
      "--edition=2021",
      "-Copt-level=z",
      "-Clto",
      "-Cpanic=abort",
      "-Ccodegen-units=1",
      "-Cstrip=symbols",
    ],
    library: "/usr/lib/rustlib/wasm32-wasi",
    packages: "rustc libstd-rust-dev-wasm32",
  },
};

const compile = (compiler: Compiler, source: string, file: string): void => {
  const { library, packages } = compiler;
  if (!existsSync(library))
    throw new Error(`${source} needs what Debian 12 has: apt-get install ${packages}`);
  // From inside the folder, so that no path of this machine can get into the module.
  const command = [...compiler.command, source, "-o", file];
  const { exitCode, stderr } = Bun.spawnSync(command, { cwd: sourceDir, stderr: "pipe" });
  const complaints = stderr.toString();
  if (exitCode !== 0 || complaints !== "")
    throw new Error(`${command.join(" ")} is not content:\n${complaints}`);
};

for (const source of (await readdir(sourceDir)).toSorted()) {
  const compiler = compilers[extname(source)];
  if (compiler === undefined) continue;
  const name = `${source.slice(0, -extname(source).length)}.wasm`;
  const file = join(targetDir, name);
  compile(compiler, source, file);
  const sha256 = new Bun.CryptoHasher("sha256").update(await readFile(file)).digest("hex");
  // As sha256sum writes it, for `sha256sum -c`.
  await writeFile(`${file}.sha256`, `${sha256}  ${name}\n`);
  console.log(file);
}
