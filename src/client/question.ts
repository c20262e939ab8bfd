import type { Properties } from "./send.ts";

export type Entity = { type: string; id: string; properties?: Properties };
export type Action = { name: string; properties?: Properties };
export type Question = { subject: Entity; action: Action; resource: Entity; context?: Properties };
