import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { Readable } from "node:stream";
import { serverLimits } from "../limits.ts";
import type { Intake } from "./intake.ts";
import { roomLimits } from "./room-limits.ts";
import type { Sweep } from "./sweep.ts";

/*
 * What comes and is not read: the runtime keeps all of an HTTP/1.1 request that comes before it is asked for, and all
 * that comes after its last reader has left.
 */

/** Lets a connection wait while more of its last request is there than its reader has asked for. */
export function makeHoldBack(socket: Socket): (request: IncomingMessage) => void {
  let last: IncomingMessage | null = null;
  const look = (): void => {
    if (last === null || last.complete) return;
    // To ask for more of the request lets the socket go on.
    if (last.readableLength > roomLimits.unreadBytesMax) socket.pause();
  };
  return (request) => {
    // Behind the runtime's own listener.
    if (last === null) socket.on("data", look);
    last = request;
  };
}

type Means = { readonly sweep: Sweep; readonly dropped: Intake };

/**
 * An answer that came before the end of its request leaves the client the time of a goodbye to stop sending, and `end`s
 * the rest. What comes until then is dropped, slowly.
 */
export function dropUnread(request: Readable, { sweep, dropped }: Means, end: () => void): void {
  if (request.readableEnded || request.destroyed) return;
  const cancel = sweep.watch(serverLimits.goodbyeMs, end);
  let isPaying = false;
  const drop = async (): Promise<void> => {
    if (isPaying) return;
    isPaying = true;
    for (let piece = request.read(); piece !== null; piece = request.read())
      await dropped.took(piece.length);
    isPaying = false;
  };
  request.once("end", cancel).once("close", cancel);
  // Whoever has read so far does no more, and would keep what comes.
  request.removeAllListeners("data").removeAllListeners("readable");
  request.on("readable", () => void drop());
  void drop();
}
