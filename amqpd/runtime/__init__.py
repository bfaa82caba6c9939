"""The shell: the only place with sockets, files, threads, signals and real time."""
