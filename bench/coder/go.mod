module github.com/pushcart/pushcart/bench/coder

go 1.26.0

require github.com/coder/websocket v1.8.15
