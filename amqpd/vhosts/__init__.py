"""Names to things: declare, delete, bind, route, and who may do it."""
