/**
 * How many commands of an instance wait for their commit. They need no thread and the writer's line bounds them, so whoever admits requests
 * lets others in meanwhile: what they decide goes into the next commit.
 */
export class CommitWaits {
  count = 0
  /** called when one more waits, and when one has waited */
  onChange: (() => void) | null = null

  async until(committed: Promise<void>): Promise<void> {
    this.count++
    this.onChange?.()
    try {
      await committed
    } finally {
      this.count--
      this.onChange?.()
    }
  }
}
