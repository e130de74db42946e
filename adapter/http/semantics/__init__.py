"""What HTTP itself has beside requests and answers: HEAD, codings of bodies, other origins (RFC 9110; Fetch)."""
