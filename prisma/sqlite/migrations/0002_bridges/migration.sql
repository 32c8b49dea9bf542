-- AlterTable
ALTER TABLE "appservice" ADD COLUMN "bridgeType" TEXT;
ALTER TABLE "appservice" ADD COLUMN "provisioningSecret" TEXT;

-- AlterTable
ALTER TABLE "job" ADD COLUMN "endedAt" BIGINT;

-- AlterTable
ALTER TABLE "media" ADD COLUMN "uniqueId" TEXT;
ALTER TABLE "media" ADD COLUMN "uploadHash" TEXT;

-- AlterTable
ALTER TABLE "departure" ADD COLUMN "ts" BIGINT;

-- CreateTable
CREATE TABLE "bridge_reach" (
    "instance" INTEGER NOT NULL,
    "appservice" BIGINT NOT NULL,
    "reachable" INTEGER NOT NULL,
    "since" BIGINT NOT NULL,
    "error" TEXT,
    "position" BIGINT NOT NULL,

    PRIMARY KEY ("instance", "appservice")
) WITHOUT ROWID;

-- CreateTable
CREATE TABLE "login_token" (
    "instance" INTEGER NOT NULL PRIMARY KEY,
    "token" TEXT NOT NULL
) WITHOUT ROWID;

-- CreateTable
CREATE TABLE "stale_profile" (
    "instance" INTEGER NOT NULL,
    "user" BIGINT NOT NULL,
    "position" BIGINT NOT NULL,

    PRIMARY KEY ("instance", "user")
) WITHOUT ROWID;

-- CreateIndex
CREATE INDEX "media_instance_uniqueId_idx" ON "media"("instance", "uniqueId");
