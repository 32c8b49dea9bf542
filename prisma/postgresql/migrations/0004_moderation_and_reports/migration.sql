-- AlterTable
ALTER TABLE "interest" ADD COLUMN     "order" BIGINT,
ADD COLUMN     "since" BIGINT;

-- AlterTable
ALTER TABLE "checkpoint" ADD COLUMN     "others" TEXT;

-- AlterTable
ALTER TABLE "event" ADD COLUMN     "changedKeys" TEXT;

-- AlterTable
ALTER TABLE "user" ADD COLUMN     "suspendedAt" BIGINT;

-- CreateTable
CREATE TABLE "bridge_checkpoint" (
    "instance" INTEGER NOT NULL,
    "appservice" BIGINT NOT NULL,
    "eventId" TEXT NOT NULL,
    "step" TEXT NOT NULL,
    "status" TEXT NOT NULL,
    "checkpoint" TEXT NOT NULL,
    "position" BIGINT NOT NULL,

    CONSTRAINT "bridge_checkpoint_pkey" PRIMARY KEY ("instance","appservice","eventId","step")
);

-- CreateTable
CREATE TABLE "unredacted" (
    "instance" INTEGER NOT NULL,
    "room" BIGINT NOT NULL,
    "order" BIGINT NOT NULL,
    "redactedAt" BIGINT NOT NULL,
    "json" TEXT NOT NULL,

    CONSTRAINT "unredacted_pkey" PRIMARY KEY ("instance","room","order")
);

-- CreateIndex
CREATE INDEX "bridge_checkpoint_instance_position_idx" ON "bridge_checkpoint"("instance", "position");

-- CreateIndex
CREATE INDEX "unredacted_instance_redactedAt_idx" ON "unredacted"("instance", "redactedAt");
