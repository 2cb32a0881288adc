/*
 * The file and network access of a sandbox child (linux/landlock.h). Rules bind the calling thread, what it starts, and
 * what it executes; so they are made before the program is executed anew.
 */
import { closeSync, constants, openSync } from "node:fs";
import { addressOf, type CLibrary } from "./linux.ts";

/** The same numbers on every architecture. */
const createRuleset = 444n;
const addRule = 445n;
const restrictSelf = 446n;

const versionFlag = 1n;
const rulePathBeneath = 1n;

/** Access rights to files by the version that brought them; a right the kernel does not know makes it refuse the whole. */
const fileRights = [
  { version: 1, rights: 0x1fffn },
  { version: 2, rights: 0x2000n }, // refer
  { version: 3, rights: 0x4000n }, // truncate
  { version: 5, rights: 0x8000n }, // ioctl of devices
];
const netRights = { version: 4, rights: 0x3n }; // bind and connect over TCP
const scopes = { version: 6, rights: 0x3n }; // abstract sockets and signals, outside of the own domain

const execute = 0x1n;
const writeFile = 0x2n;
const readFile = 0x4n;
const readFolder = 0x8n;
const removeFile = 0x20n;
const makeFile = 0x100n;
const truncate = 0x4000n;

/** What a place is left open for. */
export type Access = "run" | "read" | "write";

const rightsOf: Readonly<Record<Access, bigint>> = {
  run: execute | readFile,
  read: readFile | readFolder,
  write: readFile | readFolder | writeFile | removeFile | makeFile | truncate,
};
/** What of them fits a file that is no folder. */
const rightsOfFiles = execute | writeFile | readFile | truncate;

const upTo = (
  version: number,
  given: { readonly version: number; readonly rights: bigint },
): bigint => (version >= given.version ? given.rights : 0n);

/**
 * Leaves the calling thread these places and nothing else, for good; places that are not there are left out. False: the
 * kernel has no Landlock.
 */
export const restrictTo = (
  places: readonly { readonly path: string; readonly access: Access }[],
  { syscall }: CLibrary,
): boolean => {
  const version = Number(syscall(createRuleset, 0n, 0n, versionFlag, 0n));
  if (version < 1) return false;
  const handled = fileRights.reduce((all, rights) => all | upTo(version, rights), 0n);
  const attributes = new BigUint64Array([handled, upTo(version, netRights), upTo(version, scopes)]);
  const bytes = new Uint8Array(attributes.buffer);
  const ruleset = Number(syscall(createRuleset, addressOf(bytes), BigInt(sizeOf(version)), 0n, 0n));
  if (ruleset < 0) throw new Error("the kernel takes no Landlock ruleset");
  for (const { path, access } of places) allow(ruleset, path, rightsOf[access] & handled, syscall);
  if (Number(syscall(restrictSelf, BigInt(ruleset), 0n, 0n, 0n)) !== 0)
    throw new Error("the kernel does not enforce the Landlock ruleset");
  closeSync(ruleset);
  return true;
};

/** Bytes of the attributes that this version of the kernel knows. */
const sizeOf = (version: number): number =>
  version >= scopes.version ? 24 : version >= netRights.version ? 16 : 8;

const allow = (
  ruleset: number,
  path: string,
  rights: bigint,
  syscall: CLibrary["syscall"],
): void => {
  let place: number;
  try {
    // O_PATH, which node does not name: the place itself, without the right to read it.
    place = openSync(path, 0x200000 | constants.O_RDONLY);
  } catch {
    return;
  }
  // struct landlock_path_beneath_attr is packed: 8 bytes of rights, 4 of the descriptor.
  const rule = new DataView(new ArrayBuffer(12));
  const address = addressOf(new Uint8Array(rule.buffer));
  const add = (allowed: bigint): boolean => {
    rule.setBigUint64(0, allowed, true);
    rule.setInt32(8, place, true);
    return Number(syscall(addRule, BigInt(ruleset), rulePathBeneath, address, 0n)) === 0;
  };
  const added = add(rights) || add(rights & rightsOfFiles);
  closeSync(place);
  if (!added) throw new Error(`no Landlock rule could be made for ${path}`);
};
