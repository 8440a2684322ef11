"""The console: pages for people, made on the server; see `monitor.web.console.shell`."""
