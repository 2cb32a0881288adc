import type { ModelRequest } from "../agent/request.ts";

/** What cannot be in a request by chance or by someone's will: there an image is put. */
export const newPlace = (): string => `image-${crypto.randomUUID()}`;

/** The body in which the images are put in their places; nothing large is copied. */
export const withImages = (
  body: string,
  place: string,
  { messages }: ModelRequest,
): readonly string[] => {
  const images = messages.flatMap((message) => (message.role === "user" ? message.images : []));
  const [head = "", ...tails] = body.split(place);
  return [head, ...tails.flatMap((tail, index) => [images[index] ?? "", tail])];
};
