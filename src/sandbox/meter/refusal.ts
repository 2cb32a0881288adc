/** Which rule a module broke. */
export type RefusalReason = "malformed" | "feature" | "import" | "export" | "limit";

/** Thrown from inside the decoder, caught by whoever prepares a module; never leaves the child process. */
export class ModuleRefused extends Error {
  override readonly name = "ModuleRefused";
  readonly reason: RefusalReason;

  constructor(reason: RefusalReason, message: string) {
    super(message);
    this.reason = reason;
  }
}

export const malformed = (what: string): never => {
  throw new ModuleRefused("malformed", `this is not a valid WebAssembly module: ${what}`);
};

export const unsupported = (feature: string, where: string): never => {
  throw new ModuleRefused(
    "feature",
    `the module uses the WebAssembly feature "${feature}" (${where}), which Engram does not accept; ` +
      "build it for plain wasm32 WASI preview 1",
  );
};

export const overLimit = (what: string): never => {
  throw new ModuleRefused("limit", what);
};
