"""What a stranger sends: raw requests, many clients, folders and configs made to do harm."""
