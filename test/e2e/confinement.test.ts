import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { getPriority, tmpdir } from "node:os";
import { join } from "node:path";
import { spawnChild } from "../../src/sandbox/child-process.ts";
import { type Frame, textOf } from "../../src/sandbox/frame.ts";
import { binary } from "../support/engine-process.ts";

/** A child of the built binary that may read `tools` and write `cache`, and nothing else. */
const openChild = (folder: string) => {
  let answer = (_frame: Frame): void => undefined;
  const places = [`--read=${join(folder, "tools")}`, `--write=${join(folder, "cache")}`];
  const child = spawnChild([binary, "__sandbox", ...places], (frame) => answer(frame));
  const prepare = (path: string, cacheDir: string): Promise<Frame> =>
    new Promise((resolve) => {
      answer = resolve;
      child.send({ kind: "prepare", path, cacheDir });
    });
  return { child, prepare };
};

// Landlock and seccomp are the kernel's: elsewhere the README promises neither.
test.if(process.platform === "linux")("a child reads and writes its own places only", async () => {
  const folder = mkdtempSync(join(tmpdir(), "engram-confined-"));
  for (const name of ["tools", "cache", "secret"]) mkdirSync(join(folder, name));
  const { child, prepare } = openChild(folder);
  try {
    const empty = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
    writeFileSync(join(folder, "tools", "a.wasm"), empty);
    writeFileSync(join(folder, "secret", "a.wasm"), empty);
    const inside = await prepare(join(folder, "tools", "a.wasm"), join(folder, "cache"));
    expect(textOf(inside.header, "kind")).toBe("prepared");
    const outside = await prepare(join(folder, "secret", "a.wasm"), join(folder, "cache"));
    expect(textOf(outside.header, "kind")).toBe("unreadable");
    expect(textOf(outside.header, "message")).toContain("EACCES");
    const environment = await prepare(`/proc/${process.pid}/environ`, join(folder, "cache"));
    expect(textOf(environment.header, "kind")).toBe("unreadable");
    const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
    expect(status).toMatch(/^NoNewPrivs:\t1$/m);
    expect(status).toMatch(/^Seccomp:\t2$/m);
    expect(getPriority(child.pid)).toBe(19);
    expect(readFileSync(`/proc/${child.pid}/oom_score_adj`, "utf8").trim()).toBe("1000");
  } finally {
    child.kill();
    await child.ended;
    rmSync(folder, { recursive: true });
  }
});
