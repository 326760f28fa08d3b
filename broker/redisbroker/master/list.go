package master

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/redis/go-redis/v9"
)

// Dial returns a client with one connection to an address, which is made with its first
// command.
type Dial func(address string) *redis.Client

// List finds the first of some addresses where a master answers, and stays with it until
// that is doubted. Its methods may be called concurrently.
type List struct {
	addresses []string
	dial      Dial
	replicas  func(address string)

	mu      sync.Mutex // held while the addresses are asked
	current found
}

// found is an address that may be in doubt.
type found struct {
	mu      sync.Mutex // guards all below
	address string     // "": none
}

func (f *found) get() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.address
}

func (f *found) set(address string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.address = address
}

// NewList returns one of these addresses. replicas is called with the first that answers
// where all that do are replicas: it is taken.
func NewList(addresses []string, dial Dial, replicas func(address string)) *List {
	return &List{addresses: addresses, dial: dial, replicas: replicas}
}

// Doubt has the addresses asked again.
func (l *List) Doubt() {
	if len(l.addresses) > 1 {
		l.current.set("")
	}
}

// Find asks the addresses in their order, unless it knows already. Its error says that none
// answers, and why.
func (l *List) Find(ctx context.Context) (string, error) {
	if at := l.current.get(); at != "" {
		return at, nil
	}
	if len(l.addresses) == 1 {
		return l.addresses[0], nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if at := l.current.get(); at != "" {
		return at, nil
	}
	replica, errs := "", []error{}
	for _, at := range l.addresses {
		role, err := roleAt(ctx, l.dial(at))
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", at, err))
		case role == "replica":
			if replica == "" {
				replica = at
			}
		default:
			l.current.set(at)
			return at, nil
		}
	}
	if replica == "" {
		return "", fmt.Errorf("redis.addresses: none answers: %w", errors.Join(errs...))
	}
	l.replicas(replica)
	return replica, nil
}

// Confirm has nothing to say: nobody but the server knows.
func (l *List) Confirm(context.Context, string) error { return nil }

// roleAt asks a server for its role; "" is one that does not tell. It closes the client.
func roleAt(ctx context.Context, c *redis.Client) (string, error) {
	defer c.Close()
	hello, err := c.Do(ctx, "hello", 3).Result()
	var answer redis.Error
	if err != nil && !errors.As(err, &answer) {
		return "", err
	}
	fields, _ := hello.(map[any]any)
	role, _ := fields["role"].(string)
	return role, nil
}
