/** Where an event stands. */
export interface Spot {
  /** key of the room */
  readonly room: number
  readonly order: number
}

/** Under this name it is found in maps of events of several rooms. */
export function spotName({ room, order }: Spot): string {
  return `${room} ${order}`
}
