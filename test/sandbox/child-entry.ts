import { runSandboxChild } from "../../src/sandbox/child.ts";

/** Run by itself, this file is a sandbox child. */
export const childEntry = import.meta.path;

if (import.meta.main) await runSandboxChild();
