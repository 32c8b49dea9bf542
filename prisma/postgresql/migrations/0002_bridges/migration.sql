-- AlterTable
ALTER TABLE "appservice" ADD COLUMN     "bridgeType" TEXT,
ADD COLUMN     "provisioningSecret" TEXT;

-- AlterTable
ALTER TABLE "job" ADD COLUMN     "endedAt" BIGINT;

-- AlterTable
ALTER TABLE "media" ADD COLUMN     "uniqueId" TEXT,
ADD COLUMN     "uploadHash" TEXT;

-- AlterTable
ALTER TABLE "departure" ADD COLUMN     "ts" BIGINT;

-- CreateTable
CREATE TABLE "bridge_reach" (
    "instance" INTEGER NOT NULL,
    "appservice" BIGINT NOT NULL,
    "reachable" INTEGER NOT NULL,
    "since" BIGINT NOT NULL,
    "error" TEXT,
    "position" BIGINT NOT NULL,

    CONSTRAINT "bridge_reach_pkey" PRIMARY KEY ("instance","appservice")
);

-- CreateTable
CREATE TABLE "login_token" (
    "instance" INTEGER NOT NULL,
    "token" TEXT NOT NULL,

    CONSTRAINT "login_token_pkey" PRIMARY KEY ("instance")
);

-- CreateTable
CREATE TABLE "stale_profile" (
    "instance" INTEGER NOT NULL,
    "user" BIGINT NOT NULL,
    "position" BIGINT NOT NULL,

    CONSTRAINT "stale_profile_pkey" PRIMARY KEY ("instance","user")
);

-- CreateIndex
CREATE INDEX "media_instance_uniqueId_idx" ON "media"("instance", "uniqueId");
