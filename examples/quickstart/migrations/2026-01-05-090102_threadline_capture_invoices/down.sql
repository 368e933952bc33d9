-- Ends the capture of invoices; its history stays.

SELECT "public".threadline_release_v1(
    relation => to_regclass('"invoices"'),
    target => 'invoices',
    lock_timeout => '2s');
