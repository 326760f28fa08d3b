// Package deploy tests what operators run: the release as make release builds it, the
// Debian package under a real systemd, the image's file system, the settings of the
// kernel, and what deploy/ has for Docker Compose and Kubernetes. What needs root, or a
// program that is not there, is skipped, but not in CI.
package deploy
