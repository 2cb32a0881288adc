import { dlopen, ptr } from "bun:ffi";

const cLibraries = ["libc.so.6", "libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1"];

const open = (library: string) =>
  dlopen(library, {
    prctl: { args: ["i32", "u64", "u64", "u64", "u64"], returns: "i32" },
    setpriority: { args: ["i32", "u32", "i32"], returns: "i32" },
    setrlimit: { args: ["i32", "ptr"], returns: "i32" },
    syscall: { args: ["i64", "u64", "u64", "u64", "u64"], returns: "i64" },
    execve: { args: ["ptr", "ptr", "ptr"], returns: "i32" },
  });

export type CLibrary = ReturnType<typeof open>["symbols"];

/** The C library's calls that confine a process. Fails where none of its names is found. */
export const openCLibrary = (): CLibrary => {
  for (const library of cLibraries) {
    try {
      return open(library).symbols;
    } catch {
      continue;
    }
  }
  throw new Error("no C library was found");
};

/** Where bytes lie in memory. They must be kept until the call that is given the address returns. */
export const addressOf = (bytes: Uint8Array): bigint => BigInt(ptr(bytes));

/** A text as C takes it. */
export const cText = (text: string): Uint8Array => new TextEncoder().encode(`${text}\0`);
