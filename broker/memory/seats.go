package memory

import (
	"time"

	"github.com/pushcart/pushcart/broker"
	"github.com/pushcart/pushcart/broker/internal/seattable"
	"github.com/pushcart/pushcart/config"
)

var _ broker.Seats = (*Seats)(nil)

// Seats are those of a single node.
type Seats struct {
	table *seattable.Table
	evict func(connection string)
}

// NewSeats returns the seats of one node.
func NewSeats(l config.Limits) *Seats {
	return &Seats{table: seattable.New(l)}
}

// Start implements Seats.
func (s *Seats) Start(evict func(connection string)) { s.evict = evict }

// Take implements Seats.
func (s *Seats) Take(user, connection string) bool {
	return s.table.Take(user, connection, s.evict)
}

// Leave implements Seats.
func (s *Seats) Leave(user, connection string) { s.table.Remove(user, connection) }

// Adopt implements Seats.
func (s *Seats) Adopt(user, connection string) {
	s.table.Add(user, seattable.Seat{Connection: connection, Joined: time.Now().UnixMicro()})
}

// Apply implements Seats.
func (s *Seats) Apply(l config.Limits) { s.table.Apply(l) }
