-- Ends the capture of customers; its history stays.

SELECT "public".threadline_release_v1(
    relation => to_regclass('"customers"'),
    target => 'customers',
    lock_timeout => '2s');
