## Takes the script from its input; what is run there must outlive the connection, and another one that still runs.
umask 077; mkdir -p __FOLDER__ && cat >__FILE__.part && mv -f __FILE__.part __FILE__
