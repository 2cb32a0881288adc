import { type FileHandle, open } from "node:fs/promises";
import { EngramError, messageOf } from "../errors.ts";
import { AdminService } from "../gen/engram/admin/v1/admin_pb.ts";
import { fileLimits } from "../limits.ts";
import { withEngine } from "./client.ts";
import { print } from "./print.ts";
import { readClientSettings } from "./settings.ts";

/** `engram export AGENT`: a resting agent as a file, on the standard output. A file that was cut off is refused by the import. */
export async function exportAgent(args: readonly string[]): Promise<number> {
  const { words, settings } = readClientSettings(args, process.env);
  const [agentId, more] = words;
  if (!agentId || more !== undefined)
    throw new EngramError("invalid_argument", "usage: engram export AGENT > FILE");
  return withEngine(settings, AdminService, async (client) => {
    for await (const { data } of client.exportAgent({ agentId })) await print(data);
    return 0;
  });
}

/** `engram import FILE`: makes the agent of an exported file, all of it or nothing. */
export async function importAgent(args: readonly string[]): Promise<number> {
  const { words, settings } = readClientSettings(args, process.env);
  const [path, more] = words;
  if (path === undefined || more !== undefined)
    throw new EngramError("invalid_argument", "usage: engram import FILE");
  const file = await openFile(path);
  try {
    return await withEngine(settings, AdminService, async (client) => {
      const { agentId, headSequence } = await client.importAgent(piecesOf(file));
      process.stdout.write(`imported agent ${agentId} with ${headSequence} events\n`);
      return 0;
    });
  } finally {
    await file.close();
  }
}

async function openFile(path: string): Promise<FileHandle> {
  const fault = (why: string, cause?: unknown): EngramError =>
    new EngramError("failed_precondition", `${path} cannot be read: ${why}`, { cause });
  let file: FileHandle;
  try {
    file = await open(path);
  } catch (cause) {
    throw fault(messageOf(cause), cause);
  }
  if (!(await file.stat()).isDirectory()) return file;
  await file.close();
  throw fault("it is a folder");
}

/** A file's bytes in messages; of an empty file one. */
async function* piecesOf(file: FileHandle): AsyncGenerator<{ data: Uint8Array<ArrayBuffer> }> {
  for (;;) {
    const buffer = new Uint8Array(fileLimits.pieceBytesMax);
    const { bytesRead } = await file.read(buffer);
    yield { data: buffer.subarray(0, bytesRead) };
    if (bytesRead === 0) return;
  }
}
