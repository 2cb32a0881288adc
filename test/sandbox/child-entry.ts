import { runSandboxChild } from "../../src/sandbox/child.ts";

runSandboxChild();
