/** A Matrix word as the schema's enums spell it. */
export function enumName<T extends string>(word: T): Uppercase<T> {
  return word.toUpperCase() as Uppercase<T>
}
